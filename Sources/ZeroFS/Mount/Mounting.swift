import Bytes
import CFuse
import Glibc
import Logging

extension FileTree {
  /// Mounts the tree and serves it.
  ///
  /// In the foreground: returns when it is unmounted. Otherwise: returns in the parent once a daemon serves it and a file was
  /// read, and in the daemon when it is unmounted. No other thread may run yet: only the calling one survives a fork.
  ///
  /// A daemon that fails before it serves prints its message itself; the parent then exits with the same status.
  package func mount(at mountpoint: Mountpoint, _ options: MountOptions) throws(MountError) {
    // Each thread's arena would keep the memory of the largest tree that the thread composed.
    mallopt(M_ARENA_MAX, 2)
    // The buffers of reads go back to the kernel when they are freed. By itself malloc(3) raises its threshold to their size, and
    // they then stay in its heaps: 60 MB behind a cold read of a 405B model.
    mallopt(M_MMAP_THRESHOLD, 128 << 10)
    // Its lock is the daemon's, too.
    defer { withExtendedLifetime(mountpoint) {} }
    if options.isForeground { return try serve(at: mountpoint, options, ready: { _ in }) }
    switch try Daemon.fork() {
    case .child(let daemon): try serve(at: mountpoint, options, ready: daemon.ready)
    case .parent(let child): try child.check(self, at: mountpoint.path)
    }
  }

  private func serve(
    at mountpoint: Mountpoint, _ options: MountOptions, ready: @escaping @Sendable (MountRecord) -> Void
  ) throws(MountError) {
    let ring = LogRing()
    let log = FileTree.Entry("log", isVolatile: true) { VirtualFile(ring.text) }
    let superblock = try Superblock(self, control: options.reports + [log], layouts: options.layouts)
    let logger = try options.log.logger(keptIn: ring)
    let record = try MountRecord(of: mountpoint.path, source: options.source)
    let server = FuseServer(
      superblock, sourceBytes: options.sourceBytes, isCached: options.isCached, logger: logger,
      ready: { ready(record) }, unmounted: { endSoon(record) })
    let session: FuseSession
    do throws(MountError) {
      session = try FuseSession(
        server, at: mountpoint.path, source: options.source, options: options.options)
    } catch {
      // Whoever started us is told.
      record.remove()
      throw error
    }
    mountpoint.lock.release()
    try session.serve(ended: record.remove)
    record.remove()
  }
}

/// Ends the process of a mount that is gone, should it not end by itself: a thread may still be in a read of a source that stalls,
/// for a reader that was interrupted.
@Sendable private func endSoon(_ record: MountRecord) {
  PosixThread {
    sleep(2)
    record.remove()
    _exit(0)
  }?.detach()
}
