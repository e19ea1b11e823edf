import CFuse
import Glibc
import Synchronization

/// How a session reads requests and writes replies: as libfuse would, but for two things that libfuse 3.14 can't do.
///
/// - The reply to INIT allows mappings of files that are opened with direct_io (`FUSE_DIRECT_IO_ALLOW_MMAP`).
/// - A reply whose bytes the kernel could not copy (the source of a mapped piece was truncated) is not a line on stderr but a
///   failed `fuse_reply_iov`. The kernel has then ended the request with EIO (`fs/fuse/dev.c`: `fuse_dev_do_write`).
func installSessionIO(_ session: OpaquePointer) {
  _ = zerofs_session_custom_io(
    session,
    { descriptor, pieces, count, userData in
      let server = FuseServer.serving(userData: userData)
      // The kernel asks for nothing before INIT is answered, so the first reply is the one to INIT.
      let isInit = server.isInitialized.compareExchange(expected: false, desired: true, ordering: .relaxed)
        .exchanged
      if isInit { allowMappings(UnsafeBufferPointer(start: pieces, count: Int(count))) }
      let sent = Glibc.writev(descriptor, pieces, count)
      if isInit && sent >= 0 { server.ready() }
      if sent >= 0 { return sent }
      switch errno {
      case ENOENT:
        // The reader was interrupted and waits no longer.
        return 0
      case EFAULT:
        // The one error that libfuse passes on without a word of its own.
        errno = ENOENT
        return -1
      default:
        return -1
      }
    },
    { descriptor, buffer, size, userData in
      let count = Glibc.read(descriptor, buffer, size)
      if count >= 0 || errno != ENODEV { return count }
      let server = FuseServer.serving(userData: userData)
      if !server.isUnmounted.exchange(true, ordering: .relaxed) { server.unmounted() }
      errno = ENODEV
      return count
    })
}

/// Sets the flag in the reply to INIT, where the kernel knows flags of that height.
private func allowMappings(_ pieces: UnsafeBufferPointer<iovec>) {
  guard pieces.count == 2, pieces[1].iov_len >= MemoryLayout<fuse_init_out>.size else { return }
  pieces[1].iov_base?.withMemoryRebound(to: fuse_init_out.self, capacity: 1) { reply in
    if reply.pointee.flags & UInt32(FUSE_INIT_EXT) == 0 { return }
    reply.pointee.flags2 |= UInt32(truncatingIfNeeded: FUSE_DIRECT_IO_ALLOW_MMAP >> 32)
  }
}
