import Bytes
import CFuse
import Glibc

/// The child side of a fork, and how it tells its parent that it serves.
struct Daemon {
  private let readiness: Int32

  enum Side {
    case child(Daemon)
    case parent(DaemonChild)
  }

  /// Forks. In the parent: waits for the child to serve, or exits with the child's status if it failed, which has told why.
  static func fork() throws(MountError) -> Side {
    var pipes: [Int32] = [-1, -1]
    guard zerofs_pipe(&pipes) == 0 else { throw .daemonNotStarted(errno: errno) }
    let child = Glibc.fork()
    if child < 0 { throw .daemonNotStarted(errno: errno) }
    if child == 0 {
      close(pipes[0])
      // A session of its own: the terminal's signals don't reach it.
      setsid()
      closeInherited()
      resetSignals()
      return .child(Daemon(readiness: pipes[1]))
    }
    close(pipes[1])
    defer { close(pipes[0]) }
    var byte: UInt8 = 0
    while case let count = read(pipes[0], &byte, 1), count != 1 {
      if count < 0 && errno == EINTR { continue }
      // The pipe was closed before a byte came.
      let status = wait(for: child)
      if status & 0x7f != 0 { throw .daemonKilled(signal: status & 0x7f) }
      exit(status >> 8 & 0xff)
    }
    return .parent(DaemonChild(identifier: child))
  }

  fileprivate static func wait(for child: pid_t) -> Int32 {
    var status: Int32 = 0
    while waitpid(child, &status, 0) < 0 && errno == EINTR {}
    return status
  }

  /// Closes what came through exec(2): a lock that its owner never got back, a pipe that never ended. It has no close-on-exec
  /// flag; all that this program opens has.
  ///
  /// - Parameter all: what this program opened, too.
  static func closeInherited(all: Bool = false) {
    guard let directory = opendir("/proc/self/fd") else { return }
    var inherited: [Int32] = []
    while let entry = readdir(directory) {
      let name = withUnsafePointer(to: &entry.pointee.d_name) {
        $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
      }
      guard let descriptor = Int32(name), descriptor > STDERR_FILENO else { continue }
      if all || fcntl(descriptor, F_GETFD) & FD_CLOEXEC == 0 { inherited.append(descriptor) }
    }
    closedir(directory)
    for descriptor in inherited { close(descriptor) }
  }

  /// libfuse leaves an ignored signal ignored, and nohup(1) and shells without job control start programs so. They mean programs
  /// of their session, which this one has left.
  private static func resetSignals() {
    for signal in [SIGTERM, SIGINT, SIGHUP] { Glibc.signal(signal, SIG_DFL) }
  }

  /// Tells the parent that the kernel has got its first answer.
  func ready(_ record: MountRecord) {
    // Until now stderr was the parent's, for messages. It must not keep a terminal or a pipe open.
    let null = open("/dev/null", O_RDWR | O_CLOEXEC)
    for descriptor in [STDIN_FILENO, STDOUT_FILENO] { dup2(null, descriptor) }
    close(null)
    // What Swift's runtime says when it dies, or `main`, is for the next call of zerofs.
    dup2(record.descriptor, STDERR_FILENO)
    reportFatalSignals()
    // Nor should the working directory keep a file system busy.
    chdir("/")
    var byte: UInt8 = 1
    write(readiness, &byte, 1)
    close(readiness)
  }

  /// A process that a signal ends says so on stderr. A sanitizer's own handlers stay.
  private func reportFatalSignals() {
    for signal in [SIGSEGV, SIGBUS, SIGILL, SIGTRAP, SIGFPE, SIGABRT] {
      var action = sigaction()
      guard sigaction(signal, nil, &action) == 0, action.__sigaction_handler.sa_handler == nil else {
        continue
      }
      // Once: raised again, the signal ends the process.
      action.sa_flags = Int32(bitPattern: UInt32(SA_RESETHAND)) | SA_NODEFER
      action.__sigaction_handler.sa_handler = { signal in
        // Nothing here may allocate.
        let text: StaticString = "killed by signal "
        write(STDERR_FILENO, text.utf8Start, text.utf8CodeUnitCount)
        var digits = (UInt8(48 + signal / 10), UInt8(48 + signal % 10), UInt8(ascii: "\n"))
        let skip = signal < 10 ? 1 : 0
        withUnsafeBytes(of: &digits) { bytes in
          _ = write(STDERR_FILENO, bytes.baseAddress.map { $0 + skip }, bytes.count - skip)
        }
        raise(signal)
      }
      sigaction(signal, &action, nil)
    }
  }
}

/// The daemon as its parent has it, once it said that it serves.
struct DaemonChild {
  let identifier: pid_t

  /// Reads a file of the mount as a user would. A mount that doesn't serve is taken away again, and its daemon with it.
  func check(_ tree: FileTree, at root: String) throws(MountError) {
    guard let code = readFirstFile(tree, root) else { return }
    _ = Unmount.detach(root, lazily: true)
    kill(identifier, SIGTERM)
    let status = Daemon.wait(for: identifier)
    var reason: String?
    if case .died(let why) = MountRecord.find(root) { reason = why }
    MountRecord.forget(root)
    throw .notServing(path: root, errno: code, signal: status & 0x7f, reason: reason)
  }

  /// The errno of the first call that fails. The first file is the largest kind: an optimizer's, or a model's states.
  private func readFirstFile(_ tree: FileTree, _ root: String) -> Int32? {
    var status = stat()
    guard stat(root, &status) == 0 else { return errno }
    guard let first = tree.entries.first else { return nil }
    let descriptor = open("\(root)/\(first.path)", O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return errno }
    defer { close(descriptor) }
    var byte: UInt8 = 0
    return read(descriptor, &byte, 1) < 0 ? errno : nil
  }
}
