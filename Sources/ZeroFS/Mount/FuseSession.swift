import CFuse
import Glibc
import Logging
import Synchronization

/// One mount and its loop: a `fuse_session`.
final class FuseSession {
  private let session: OpaquePointer
  private let server: FuseServer
  private let mountpoint: String

  /// Mounts. From here on the kernel asks, and waits for `serve`.
  init(_ server: FuseServer, at mountpoint: String, source: String, options: [String]) throws(MountError) {
    // The last of two contradicting options wins: the user may add to ours, but not make the mount writable.
    let options =
      options + ["fsname=\(FuseSession.escape(source))", "subtype=zerofs", "default_permissions"]
      + ["max_read=\(FuseServer.longestRead)", "ro"]
    LibfuseLog.install()
    var arguments = fuse_args()
    defer { fuse_opt_free_args(&arguments) }
    for argument in ["zerofs"] + options.flatMap({ ["-o", $0] }) { fuse_opt_add_arg(&arguments, argument) }
    var operations = fuseOperations()
    let made = fuse_session_new(
      &arguments, &operations, MemoryLayout<fuse_lowlevel_ops>.size,
      Unmanaged.passUnretained(server).toOpaque())
    guard let made else { throw .mountFailed(path: mountpoint, options: options, reason: LibfuseLog.take()) }
    // Before the mount, so that a signal never leaves one behind.
    fuse_set_signal_handlers(made)
    unblockSignals()
    guard fuse_session_mount(made, mountpoint) == 0 else {
      fuse_remove_signal_handlers(made)
      fuse_session_destroy(made)
      throw .mountFailed(path: mountpoint, options: options, reason: LibfuseLog.take())
    }
    var io = sessionIO()
    fuse_session_custom_io(made, &io, fuse_session_fd(made))
    (session, self.server, self.mountpoint) = (made, server, mountpoint)
  }

  /// Answers the kernel until the tree is unmounted or SIGTERM, SIGINT or SIGHUP arrives; then unmounts.
  func serve() throws(MountError) {
    // 0 after an unmount, the signal's number, or a negative errno.
    let result = Sweeper.sweeping(server.trees.layouts, session) {
      zerofs_session_loop_mt(session, UInt32(FuseServer.mostThreads))
    }
    fuse_remove_signal_handlers(session)
    fuse_session_unmount(session)
    if result > 0 { server.logger.info("\(mountpoint): unmounted on signal \(result)") }
    if result < 0 { throw .sessionFailed(path: mountpoint, errno: -result) }
  }

  deinit { fuse_session_destroy(session) }

  /// Commas end an option (libfuse `lib/fuse_opt.c`: `process_opt_sep…`).
  private static func escape(_ value: String) -> String {
    value.reduce(into: "") { $0 += $1 == "," || $1 == "\\" ? "\\\($1)" : String($1) }
  }
}

/// Whoever started us may have blocked them (a thread of Dispatch does), and a blocked mask is inherited: a daemon that nobody
/// can end.
private func unblockSignals() {
  var signals = sigset_t()
  sigemptyset(&signals)
  for signal in [SIGTERM, SIGINT, SIGHUP] { sigaddset(&signals, signal) }
  pthread_sigmask(SIG_UNBLOCK, &signals, nil)
}

/// What libfuse has to say, which it would print: kept for the message of the error that follows.
enum LibfuseLog {
  private static let lines = Mutex<[String]>([])

  static func install() {
    fuse_set_log_func { level, format, arguments in
      guard let format, let arguments else { return }
      var buffer = [CChar](repeating: 0, count: 1024)
      vsnprintf(&buffer, buffer.count, format, arguments)
      LibfuseLog.append(buffer.withUnsafeBufferPointer { $0.baseAddress.map { String(cString: $0) } ?? "" })
    }
  }

  private static func append(_ text: String) {
    // Only a failing start is of interest; a daemon of months keeps no more than this.
    lines.withLock { if $0.count < 16 { $0.append(text) } }
  }

  static func take() -> String {
    let text = lines.withLock { lines in
      defer { lines = [] }
      return lines.joined()
    }
    let words = text.split(separator: "\n").joined(separator: "; ")
    return words.isEmpty ? "libfuse gave no reason" : words
  }
}
