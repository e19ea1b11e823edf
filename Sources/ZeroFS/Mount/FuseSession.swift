import CFuse
import Glibc
import Logging
import Synchronization

/// One mount and its loop: a `fuse_session`.
final class FuseSession {
  private let session: OpaquePointer
  private let server: FuseServer
  private let mountpoint: String
  private let signals: SessionSignals

  /// Mounts. From here on the kernel asks, and waits for `serve`.
  init(_ server: FuseServer, at mountpoint: String, source: String, options: [String]) throws(MountError) {
    // The last of two contradicting options wins: the user may add to ours, but not make the mount writable.
    let options =
      options + ["fsname=\(FuseSession.escape(source))", "subtype=zerofs", "default_permissions"]
      + ["max_read=\(FuseServer.maxRead)", "ro"]
    LibfuseLog.install()
    var arguments = fuse_args()
    defer { fuse_opt_free_args(&arguments) }
    for argument in ["zerofs"] + options.flatMap({ ["-o", $0] }) { fuse_opt_add_arg(&arguments, argument) }
    var operations = fuseOperations()
    let made = zerofs_session_new(&arguments, &operations, Unmanaged.passUnretained(server).toOpaque())
    guard let made else { throw .mountFailed(path: mountpoint, options: options, reason: LibfuseLog.take()) }
    let signals = SessionSignals()
    let mounted = LibfuseLog.capturingStandardError { fuse_session_mount(made, mountpoint) }
    guard mounted == 0 else {
      signals.release()
      fuse_session_destroy(made)
      throw .mountFailed(path: mountpoint, options: options, reason: LibfuseLog.take())
    }
    installSessionIO(made)
    (session, self.server, self.mountpoint, self.signals) = (made, server, mountpoint, signals)
  }

  /// Answers the kernel until the tree is unmounted. A signal takes it out of the tree at once and ends the process: nobody waits
  /// for threads that read, whose source may have stalled.
  ///
  /// - Parameter ended: called before a signal ends the process.
  func serve(ended: @escaping @Sendable () -> Void) throws(MountError) {
    signals.onArrival { [server, mountpoint] signal in
      if let reason = Unmount.detach(mountpoint, lazily: true) {
        server.logger.error("\(mountpoint): not unmounted on signal \(signal): \(reason)")
      } else {
        server.logger.info("\(mountpoint): unmounted on signal \(signal)")
      }
      ended()
      _exit(0)
    }
    // 0 after an unmount, or a negative errno.
    let result = Sweeper.sweeping(server.superblock.layouts, session) {
      zerofs_session_loop_mt(session, UInt32(FuseServer.maxThreads), UInt32(FuseServer.maxIdleThreads))
    }
    fuse_session_unmount(session)
    if result < 0 { throw .sessionFailed(path: mountpoint, errno: -result) }
  }

  deinit { fuse_session_destroy(session) }

  /// Commas end an option (libfuse `lib/fuse_opt.c`: `process_opt_sep…`), bytes and not characters: a character of Swift's is a
  /// comma together with an accent on it.
  static func escape(_ value: String) -> String {
    let escaped = value.utf8.flatMap { byte in
      byte == UInt8(ascii: ",") || byte == UInt8(ascii: "\\") ? [UInt8(ascii: "\\"), byte] : [byte]
    }
    return String(decoding: escaped, as: UTF8.self)
  }
}
