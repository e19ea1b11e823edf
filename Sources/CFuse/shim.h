#pragma once
#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>
// The kernel's side of the protocol, for the reply to INIT.
#include <linux/fuse.h>
// SEEK_DATA and SEEK_HOLE, which glibc keeps for _GNU_SOURCE.
#include <linux/fs.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <unistd.h>

#ifndef FUSE_DIRECT_IO_ALLOW_MMAP
// Linux 6.6: a file opened with direct_io may be mapped. Newer than the headers of Debian 12.
#define FUSE_DIRECT_IO_ALLOW_MMAP (1ULL << 36)
#endif

// fuse_session_new(3), which is a macro in libfuse 3.17 and a function in 3.14.
static inline struct fuse_session *zerofs_session_new(
    struct fuse_args *arguments, const struct fuse_lowlevel_ops *operations, void *user_data) {
  return fuse_session_new(arguments, operations, sizeof *operations, user_data);
}

typedef ssize_t (*zerofs_writev)(int descriptor, struct iovec *pieces, int count, void *user_data);
typedef ssize_t (*zerofs_read)(int descriptor, void *buffer, size_t size, void *user_data);

// fuse_session_custom_io(3). The structure has more members in newer libfuse: those that aren't named are NULL.
static inline int zerofs_session_custom_io(struct fuse_session *session, zerofs_writev writev, zerofs_read read) {
  const struct fuse_custom_io io = {.writev = writev, .read = read};
  return fuse_session_custom_io(session, &io, fuse_session_fd(session));
}

// A macro in some builds of libfuse. At most `threads` requests are answered at a time; of threads without one, `idle` are kept.
static inline int zerofs_session_loop_mt(struct fuse_session *session, unsigned threads, unsigned idle) {
  struct fuse_loop_config *config = fuse_loop_cfg_create();
  fuse_loop_cfg_set_max_threads(config, threads);
  fuse_loop_cfg_set_idle_threads(config, idle);
  int result = fuse_session_loop_mt(session, config);
  fuse_loop_cfg_destroy(config);
  return result;
}

// Linux 6.18 (protocol 7.45): the kernel drops the unused ones of some inodes. Newer than libfuse 3.17.
struct zerofs_notify_prune_out {
  uint32_t count, padding;
  uint64_t spare;
};

// 0 or a negative errno; -EINVAL from a kernel that doesn't know the notification.
static inline int zerofs_notify_prune(struct fuse_session *session, const uint64_t *numbers, uint32_t count) {
  enum { FUSE_NOTIFY_PRUNE_CODE = 9 };
  struct zerofs_notify_prune_out body = {.count = count};
  struct fuse_out_header header = {.error = FUSE_NOTIFY_PRUNE_CODE};
  struct iovec pieces[] = {
      {&header, sizeof header}, {&body, sizeof body}, {(void *)numbers, count * sizeof *numbers}};
  header.len = sizeof header + sizeof body + count * sizeof *numbers;
  return writev(fuse_session_fd(session), pieces, 3) < 0 ? -errno : 0;
}

// Calls that glibc declares for _GNU_SOURCE alone, which Swift's Glibc is without. Each returns -1 with an errno.

// A descriptor that is readable once the process has ended.
static inline int zerofs_pidfd_open(pid_t process) { return (int)syscall(SYS_pidfd_open, process, 0); }

// A file in memory, closed by exec.
static inline int zerofs_memfd_create(const char *name) {
  enum { CLOSE_ON_EXEC = 1 };
  return (int)syscall(SYS_memfd_create, name, CLOSE_ON_EXEC);
}

// A pipe whose ends are closed by exec.
static inline int zerofs_pipe(int ends[2]) { return (int)syscall(SYS_pipe2, ends, O_CLOEXEC); }

// A lock of the whole file for the open file description (F_OFD_SETLK, F_OFD_SETLKW).
static inline int zerofs_owner_lock(int file, short type, int waits) {
  enum { SET = 37, SET_AND_WAIT = 38 };
  struct flock lock = {.l_type = type, .l_whence = SEEK_SET};
  return fcntl(file, waits ? SET_AND_WAIT : SET, &lock);
}
