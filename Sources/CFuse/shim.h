#pragma once
#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>
// The kernel's side of the protocol, for the reply to INIT.
#include <linux/fuse.h>
// SEEK_DATA and SEEK_HOLE, which glibc keeps for _GNU_SOURCE.
#include <linux/fs.h>
#include <stddef.h>

#ifndef FUSE_DIRECT_IO_ALLOW_MMAP
// Linux 6.6: a file opened with direct_io may be mapped. Newer than the headers of Debian 12.
#define FUSE_DIRECT_IO_ALLOW_MMAP (1ULL << 36)
#endif

// A macro in some builds of libfuse.
static inline int zerofs_session_loop_mt(struct fuse_session *session) {
  return fuse_session_loop_mt(session, NULL);
}
