#pragma once
#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>
// The kernel's side of the protocol, for the reply to INIT.
#include <linux/fuse.h>
// SEEK_DATA and SEEK_HOLE, which glibc keeps for _GNU_SOURCE.
#include <linux/fs.h>
#include <errno.h>
#include <malloc.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <sys/uio.h>

#ifndef FUSE_DIRECT_IO_ALLOW_MMAP
// Linux 6.6: a file opened with direct_io may be mapped. Newer than the headers of Debian 12.
#define FUSE_DIRECT_IO_ALLOW_MMAP (1ULL << 36)
#endif

// A macro in some builds of libfuse. At most `threads` requests are answered at a time.
static inline int zerofs_session_loop_mt(struct fuse_session *session, unsigned threads) {
  struct fuse_loop_config *config = fuse_loop_cfg_create();
  fuse_loop_cfg_set_max_threads(config, threads);
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
