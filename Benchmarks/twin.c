// The least that a FUSE program in C has to do to serve the windows that ZeroFS serves: what the benchmark holds ZeroFS against.
//
//   twin MOUNTPOINT SOURCE OFFSET BYTES HEAD
//
// Three files, each of HEAD zero bytes (for the alignment of the payload) and then
//   verbatim   BYTES bytes of SOURCE from OFFSET on, which the kernel copies out of a mapping
//   widened    the same as bf16, widened to fp32: 2 * BYTES
//   zeros      2 * BYTES zeros
// Stays in the foreground; SIGTERM unmounts.
#define FUSE_USE_VERSION 314
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

enum { LONGEST_READ = 1 << 20, STAGING = 64 << 10, ZERO_BYTES = 64 << 10 };
enum { VERBATIM = 2, WIDENED, ZEROS };  // inodes; 1 is the root

static const char *const names[] = {[VERBATIM] = "verbatim", [WIDENED] = "widened", [ZEROS] = "zeros"};
static int source;
static const char *mapping;
// Written once, by main: the kernel's own zero page is slow to pin.
static _Alignas(4096) char zeros[ZERO_BYTES];
static off_t offset, bytes, head;
static _Thread_local struct {
  _Alignas(4096) char output[LONGEST_READ + 4096];
  _Alignas(4096) uint16_t staging[STAGING / 2];
} *buffers;

static off_t size_of(fuse_ino_t ino) { return head + (ino == VERBATIM ? bytes : 2 * bytes); }

static struct stat attributes(fuse_ino_t ino) {
  struct stat status = {.st_ino = ino, .st_nlink = 1, .st_mode = S_IFREG | 0444, .st_blksize = LONGEST_READ};
  if (ino == FUSE_ROOT_ID) status.st_mode = S_IFDIR | 0555;
  else status.st_size = size_of(ino);
  return status;
}

static void on_init(void *data, struct fuse_conn_info *connection) { connection->max_read = LONGEST_READ; }

static void on_lookup(fuse_req_t request, fuse_ino_t parent, const char *name) {
  for (fuse_ino_t ino = VERBATIM; ino <= ZEROS; ino++) {
    if (strcmp(name, names[ino]) != 0) continue;
    struct fuse_entry_param entry = {
      .ino = ino, .attr = attributes(ino), .attr_timeout = 86400, .entry_timeout = 86400};
    fuse_reply_entry(request, &entry);
    return;
  }
  fuse_reply_err(request, ENOENT);
}

static void on_getattr(fuse_req_t request, fuse_ino_t ino, struct fuse_file_info *information) {
  struct stat status = attributes(ino);
  fuse_reply_attr(request, &status, 86400);
}

static void on_open(fuse_req_t request, fuse_ino_t ino, struct fuse_file_info *information) {
  information->direct_io = 1;
  fuse_reply_open(request, information);
}

/// Widens the elements of the window `start` ..< `start + size` of fp32 bytes into the output buffer; -1 if that fails.
static int widen(off_t start, size_t size) {
  // A window may start or end inside an element: whole elements are computed.
  off_t first = start / 4, last = (start + (off_t)size + 3) / 4;
  uint32_t *output = (uint32_t *)buffers->output;
  while (first < last) {
    size_t count = last - first < STAGING / 2 ? last - first : STAGING / 2;
    if (pread(source, buffers->staging, count * 2, offset + first * 2) != (ssize_t)count * 2) return -1;
    for (size_t i = 0; i < count; i++) output[i] = (uint32_t)buffers->staging[i] << 16;
    output += count;
    first += count;
  }
  return 0;
}

static void on_read(
  fuse_req_t request, fuse_ino_t ino, size_t size, off_t start, struct fuse_file_info *information) {
  if (!buffers && !(buffers = aligned_alloc(4096, sizeof *buffers))) {
    fuse_reply_err(request, ENOMEM);
    return;
  }
  if (start > size_of(ino)) start = size_of(ino);
  if (size > (size_t)(size_of(ino) - start)) size = size_of(ino) - start;
  size_t nothing = start >= head ? 0 : size < (size_t)(head - start) ? size : (size_t)(head - start);
  start += nothing - head;
  size -= nothing;
  if (ino == ZEROS) nothing += size;
  struct iovec pieces[LONGEST_READ / ZERO_BYTES + 2];
  int count = 0;
  for (; nothing > 0; count++) {
    pieces[count] = (struct iovec){zeros, nothing < ZERO_BYTES ? nothing : ZERO_BYTES};
    nothing -= pieces[count].iov_len;
  }
  if (ino == VERBATIM) {
    pieces[count++] = (struct iovec){(void *)(mapping + offset + start), size};
  } else if (ino == WIDENED) {
    if (widen(start, size) < 0) {
      fuse_reply_err(request, EIO);
      return;
    }
    pieces[count++] = (struct iovec){buffers->output + start % 4, size};
  }
  fuse_reply_iov(request, pieces, count);
}

int main(int count, char *arguments[]) {
  if (count != 6) return fprintf(stderr, "usage: twin MOUNTPOINT SOURCE OFFSET BYTES HEAD\n"), 2;
  offset = atoll(arguments[3]);
  bytes = atoll(arguments[4]);
  head = atoll(arguments[5]);
  source = open(arguments[2], O_RDONLY | O_CLOEXEC);
  mapping = mmap(NULL, offset + bytes, PROT_READ, MAP_SHARED | MAP_NORESERVE, source, 0);
  memset(zeros, 0, sizeof zeros);
  if (mapping == MAP_FAILED) return perror(arguments[2]), 1;
  struct fuse_lowlevel_ops operations = {
    .init = on_init, .lookup = on_lookup, .getattr = on_getattr, .open = on_open, .read = on_read};
  char *options[] = {"twin", "-o", "ro,fsname=twin,subtype=twin,max_read=1048576"};
  struct fuse_args fuse_arguments = FUSE_ARGS_INIT(3, options);
  struct fuse_session *session = fuse_session_new(&fuse_arguments, &operations, sizeof operations, NULL);
  if (!session || fuse_set_signal_handlers(session) || fuse_session_mount(session, arguments[1])) return 1;
  int result = fuse_session_loop_mt(session, NULL);
  fuse_session_unmount(session);
  fuse_session_destroy(session);
  return result < 0;
}
