import Bytes
import CFuse
import Glibc
import Logging

/// How a tree is mounted.
package struct MountOptions: Sendable {
  /// What the mount table calls the source: the model directory.
  package var source: String
  /// Serve in this process instead of a daemon.
  package var isForeground = false
  /// File contents pass through the kernel's page cache: slower, but repeated reads of a mapping come from memory.
  package var isCached = false
  /// For mount(8) and FUSE: `allow_other`.
  package var options: [String] = []
  package var log: LogDestination
  /// What appears below the root when it is looked up.
  package var layouts: LayoutTrees?
  /// Files of `.zerofs`, beside `log`.
  package var reports: [FileTree.Entry] = []

  /// The log goes to stderr in the foreground, to syslog otherwise, or to `logFile`.
  package init(source: String, isForeground: Bool = false, logFile: String? = nil) {
    self.source = source
    self.isForeground = isForeground
    log = logFile.map { .file(path: $0) } ?? (isForeground ? .standardError : .syslog)
  }
}

extension FileTree {
  /// Mounts the tree and serves it.
  ///
  /// In the foreground: returns when it is unmounted. Otherwise: returns in the parent once a daemon serves it and the root
  /// was read, and in the daemon when it is unmounted. No other thread may run yet: only the calling one survives a fork.
  ///
  /// A daemon that fails before it serves prints its message itself; the parent then exits with the same status.
  package func mount(at mountpoint: Mountpoint, _ options: MountOptions) throws(MountError) {
    raiseDescriptorLimit()
    // Each thread's arena would keep the memory of the largest tree that the thread composed.
    mallopt(M_ARENA_MAX, 2)
    if options.isForeground {
      try serve(at: mountpoint, options, ready: {})
    } else if let daemon = try Daemon.fork() {
      try daemon.serve(self, at: mountpoint, options)
    } else {
      try Daemon.check(mountpoint.path)
    }
  }

  fileprivate func serve(
    at mountpoint: Mountpoint, _ options: MountOptions, ready: @escaping @Sendable () -> Void
  ) throws(MountError) {
    let ring = LogRing()
    let log = FileTree.Entry("log", isVolatile: true) { VirtualFile(ring.text) }
    let trees = MountedTrees(self, control: options.reports + [log], layouts: options.layouts)
    let server = FuseServer(
      trees, isCached: options.isCached, logger: try options.log.logger(keptIn: ring), ready: ready)
    try FuseSession(server, at: mountpoint.path, source: options.source, options: options.options).serve()
  }

  /// Each source file is open as long as the mount is.
  private func raiseDescriptorLimit() {
    var limit = rlimit()
    guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return }
    limit.rlim_cur = limit.rlim_max
    setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
  }
}

/// The child side of a fork, and how it tells its parent that it serves.
private struct Daemon {
  private let readiness: Int32

  /// Forks. In the parent: waits for the child to serve, and returns `nil`; or exits with the child's status if it failed,
  /// which has told why.
  static func fork() throws(MountError) -> Daemon? {
    var pipes: [Int32] = [-1, -1]
    guard pipe(&pipes) == 0 else { throw .daemonNotStarted(errno: errno) }
    let child = Glibc.fork()
    if child < 0 { throw .daemonNotStarted(errno: errno) }
    if child == 0 {
      close(pipes[0])
      // Not for the fusermount3 that libfuse may start.
      _ = fcntl(pipes[1], F_SETFD, FD_CLOEXEC)
      // A session of its own: the terminal's signals don't reach it.
      setsid()
      return Daemon(readiness: pipes[1])
    }
    close(pipes[1])
    defer { close(pipes[0]) }
    var byte: UInt8 = 0
    while case let count = read(pipes[0], &byte, 1), count != 1 {
      if count < 0 && errno == EINTR { continue }
      // The pipe was closed before a byte came.
      var status: Int32 = 0
      while waitpid(child, &status, 0) < 0 && errno == EINTR {}
      if status & 0x7f != 0 { throw .daemonKilled(signal: status & 0x7f) }
      exit(status >> 8 & 0xff)
    }
    return nil
  }

  /// Serves until the tree is unmounted.
  func serve(_ tree: FileTree, at mountpoint: Mountpoint, _ options: MountOptions) throws(MountError) {
    let readiness = readiness
    try tree.serve(at: mountpoint, options) {
      // Until now stderr was the parent's, for messages. It must not keep a terminal or a pipe open.
      let null = open("/dev/null", O_RDWR | O_CLOEXEC)
      for descriptor in [STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO] { dup2(null, descriptor) }
      close(null)
      // Nor should the working directory keep a file system busy.
      chdir("/")
      var byte: UInt8 = 1
      write(readiness, &byte, 1)
      close(readiness)
    }
  }

  static func check(_ root: String) throws(MountError) {
    var status = stat()
    guard stat(root, &status) == 0 else { throw .rootUnreadable(path: root, errno: errno) }
  }
}
