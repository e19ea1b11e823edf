import Bytes
import CFuse
import Glibc
import Logging
import Synchronization

/// What the callbacks of one mount share. Immutable, but for caches behind small mutexes.
final class FuseServer: Sendable {
  /// Bytes of the longest read: the kernel's limit (256 pages, `fs/fuse/fuse_i.h`: FUSE_MAX_MAX_PAGES).
  static let maxRead = 1 << 20
  /// Requests that are answered at a time. Threads are made when they are needed, and each may have to wait for a source
  /// (`ColdReads.maxPerSource`): there are some left for metadata and for other sources.
  static let maxThreads = 2048
  /// Threads that are kept: libfuse's own ten (`fuse_loop_cfg_create`), and all processors of a node whose every rank reads.
  static let maxIdleThreads = max(10, Workers.cores)
  /// Seconds for which the kernel needn't ask again. A tree never changes, and a name means a layout always or never.
  static let timeout: Double = 86400
  /// Likewise for what `stat` says about `inode`.
  static func attributeTimeout(of inode: Inode) -> Double { inode.isVolatile ? 0 : timeout }

  let superblock: Superblock
  /// Whether file contents pass through the kernel's page cache.
  let isCached: Bool
  let logger: Logger
  // For twelve ranks, each of which reads a file and has the next open: less than 64 MB together.
  let readAhead = ReadAhead(capacity: maxRead, maxKept: 24)
  let prefetcher = Prefetcher()
  let cursors = PrefetchCursors()
  let coldReads = ColdReads()
  private let sourceBytes: Int
  private let owner = (user: getuid(), group: getgid())
  /// When an error of each source was last logged, by its name.
  private let logged = LockedValue<[String: ContinuousClock.Instant]>([:])
  /// Whether the INIT request was answered.
  let isInitialized = Atomic(false)
  /// Called once when the kernel got the answer to INIT, from a thread of the session.
  let ready: @Sendable () -> Void
  /// Whether a thread of the session found the mount gone.
  let isUnmounted = Atomic(false)
  /// Called once then.
  let unmounted: @Sendable () -> Void

  init(
    _ superblock: Superblock, sourceBytes: Int, isCached: Bool, logger: Logger,
    ready: @escaping @Sendable () -> Void, unmounted: @escaping @Sendable () -> Void
  ) {
    self.superblock = superblock
    self.sourceBytes = sourceBytes
    self.isCached = isCached
    self.logger = logger
    (self.ready, self.unmounted) = (ready, unmounted)
  }

  /// The `stat` of `inode`: blocks count data only, holes are free.
  func attributes(of inode: Inode) -> stat {
    var status = stat()
    status.st_ino = UInt(inode.number)
    status.st_uid = owner.user
    status.st_gid = owner.group
    status.st_mtim = superblock.root.modified
    status.st_ctim = superblock.root.modified
    status.st_atim = superblock.root.modified
    // What cat, cp and Python's buffered files read at a time. cat and cp never read less; a `torch.load` opens with four such reads of
    // a file's start, all but the first for nothing, and reads tensors whole.
    status.st_blksize = 128 << 10
    switch inode.content {
    case .directory(_, let subdirectories):
      status.st_mode = S_IFDIR | 0o555
      status.st_nlink = UInt(2 + subdirectories)
    case .file(let entry):
      status.st_mode = S_IFREG | (entry.isExecutable ? 0o555 : 0o444)
      status.st_nlink = 1
      if let measure = inode.measure() {
        status.st_size = measure.size
        status.st_blocks = (measure.dataBytes + 511) / 512
      }
    }
    return status
  }

  /// The blocks are those of the source files: to know the tree's, each file would have to be composed.
  var statistics: statvfs {
    var statistics = statvfs()
    statistics.f_bsize = UInt(FuseServer.maxRead)
    statistics.f_frsize = 4096
    statistics.f_blocks = UInt((sourceBytes + 4095) / 4096)
    statistics.f_files = UInt(superblock.root.count)
    statistics.f_namemax = 255
    statistics.f_flag = UInt(ST_RDONLY)
    return statistics
  }

  /// A line for a read that failed.
  func log(_ error: ReadError, reading path: String) {
    log("EIO for \(path): \(error)", about: error.path)
  }

  /// A line for a reply that the kernel could not copy, though its sources are what they were.
  func logFailedCopy(from sources: [String], reading path: String) {
    let names = sources.joined(separator: ", ")
    log("EIO for \(path): the kernel could not read \(names) (a failing disk?)", about: names)
  }

  /// At most one a minute for each source, because a reader may try every window.
  private func log(_ line: String, about source: String) {
    let now = ContinuousClock.now
    let isNews = logged.withLock { logged in
      if let last = logged[source], now - last < .seconds(60) { return false }
      logged[source] = now
      return true
    }
    if isNews { logger.error("\(line)") }
  }
}
