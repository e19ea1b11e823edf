import Bytes
import CFuse
import Glibc

/// What the process that serves a mount leaves for later calls of zerofs at the mountpoint: a file with its process identifier
/// and source in the first line and whatever it says on stderr behind. Locked while the process lives, removed when it ends in
/// order: what is there without a lock is of one that died.
final class MountRecord: Sendable {
  private let directory: RuntimeDirectory
  private let name: String
  /// Of the file, for appending.
  let descriptor: Int32

  /// A new file, instead of one that is left from a mount before. Whoever calls has the `MountLock`.
  init(of path: String, source: String) throws(MountError) {
    directory = try RuntimeDirectory.own()
    name = RuntimeDirectory.name(of: path) + ".log"
    directory.remove(name)
    guard let file = directory.file(name, O_RDWR | O_APPEND | O_CREAT | O_EXCL), flock(file, LOCK_EX) == 0
    else { throw .mountpointUnreadable(path: path, errno: errno) }
    descriptor = file
    let head = "\(getpid()) \(source.printable)\n"
    _ = head.utf8.withContiguousStorageIfAvailable { write(file, $0.baseAddress, $0.count) }
  }

  /// There is nothing to tell any more. Another mount's record, after a lazy unmount of this one, stays.
  func remove() {
    if directory.names(name, descriptor) { directory.remove(name) }
  }

  deinit { close(descriptor) }

  /// What a record says about the process that made it.
  enum Finding {
    case lives(ServingProcess)
    /// Why it ended; one line.
    case died(reason: String)
  }

  /// What is known of the last mount at `path`, which `user` made.
  static func find(_ path: String, of user: uid_t = geteuid()) -> Finding? {
    let name = RuntimeDirectory.name(of: path) + ".log"
    for place in RuntimeDirectory.places(of: user) {
      if let directory = RuntimeDirectory(place, of: user), let file = directory.file(name, O_RDONLY) {
        defer { close(file) }
        return find(in: file)
      }
    }
    return nil
  }

  private static func find(in file: Int32) -> Finding? {
    var bytes = [UInt8](repeating: 0, count: 16 << 10)
    let count = pread(file, &bytes, bytes.count, 0)
    let lines = String(decoding: bytes.prefix(max(0, count)), as: UTF8.self).split(separator: "\n")
    guard let head = lines.first?.split(separator: " ", maxSplits: 1), head.count == 2,
      let identifier = pid_t(head[0])
    else { return nil }
    // The process first: while the lock is held, the number is its.
    let process = ServingProcess(identifier)
    if flock(file, LOCK_SH | LOCK_NB) != 0 { return process.map { .lives($0) } }
    let said = lines.dropFirst().prefix(5).joined(separator: "; ").printable
    return .died(
      reason: "process \(identifier) "
        + (said.isEmpty
          ? "ended without a word, as one does that is killed (kill -9, or by the kernel for memory: see dmesg)"
          : "said: \(said)"))
  }

  /// Removes what a dead process left at `path`, once that was shown.
  static func forget(_ path: String) {
    let name = RuntimeDirectory.name(of: path) + ".log"
    for place in RuntimeDirectory.places(of: geteuid()) {
      RuntimeDirectory(place, of: geteuid())?.remove(name)
    }
  }
}

/// A process that serves a mount, as something that can be waited for: its number may be another's once it has ended.
final class ServingProcess: Sendable {
  let identifier: pid_t
  private let descriptor: Int32

  /// `nil` if there is none of that number.
  init?(_ identifier: pid_t) {
    descriptor = zerofs_pidfd_open(identifier)
    self.identifier = identifier
    if descriptor < 0 { return nil }
  }

  deinit { close(descriptor) }

  /// Waits until the process has ended. The kernel has then closed all its files (`kernel/exit.c`: `do_exit` closes them before it
  /// notifies).
  func waitForEnd(milliseconds: Int32) -> Bool {
    var event = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
    while true {
      let count = poll(&event, 1, milliseconds)
      if count >= 0 || errno != EINTR { return count > 0 }
    }
  }
}
