import Bytes
import CFuse
import Glibc

/// A mount of one node that several processes use: the first one mounts, the last one to leave unmounts.
///
/// Who uses it holds a lock, which the kernel takes back from a process that dies, however it does: a process of its own waits for
/// the last lock and unmounts where nobody else did. Where that one and the daemon were killed, too, as batch systems end jobs, the
/// next one here removes the dead mount. Locks are in memory of this node (`RuntimeDirectory`).
package final class SharedMount {
  /// Where it is mounted.
  package let path: String
  private let directory: RuntimeDirectory
  private let name: String
  private let users: OwnerLock

  /// Joins those who use the mount; mounts where nobody does.
  ///
  /// - Parameters:
  ///   - key: the same for everyone who wants the same mount.
  ///   - mount: mounts at a path, and returns as `FileTree.mount` does. No other thread may run yet.
  package init(key: String, mount: (_ path: String) throws -> Void) throws {
    directory = try RuntimeDirectory.own()
    name = "run-" + RuntimeDirectory.name(of: key)
    path = "\(directory.path)/\(name)"
    SharedMount.removeDead(in: directory)
    // One after the other, until the first has mounted.
    let gate = try OwnerLock(in: directory, name + ".gate", .exclusive)
    users = try OwnerLock(in: directory, name + ".users", .shared)
    defer { gate.release() }
    if !isServed {
      mkdir(path, 0o700)
      let process = getpid()
      do { try mount(path) } catch {
        rmdir(path)
        throw error
      }
      // Its daemon, which nobody needs any more.
      if getpid() != process { exit(0) }
      startWatcher()
    }
    users.keepFromChildren()
  }

  /// Removes the mounts of jobs of which no process is left.
  private static func removeDead(in directory: RuntimeDirectory) {
    var statistics = statvfs()
    for mount in MountEntry.all() where mount.isZerofs && mount.point.hasPrefix("\(directory.path)/run-") {
      // Not one that begins: its answer is waited for.
      guard statvfs(mount.point, &statistics) != 0, errno == ENOTCONN else { continue }
      if Unmount.detach(mount.point, lazily: true) == nil { rmdir(mount.point) }
    }
  }

  /// Whether a living daemon serves it.
  private var isServed: Bool {
    var statistics = statvfs()
    return MountEntry.at(path)?.isZerofs == true && statvfs(path, &statistics) == 0
  }

  /// Leaves. The last one returns when the mount is gone.
  package func leave() {
    guard let gate = try? OwnerLock(in: directory, name + ".gate", .exclusive) else { return }
    defer { gate.release() }
    if users.becomesExclusive() {
      end(in: directory)
      directory.remove(name + ".gate")
    }
    users.release()
  }

  private func end(in directory: RuntimeDirectory) {
    do { try Unmount.unmount(path) } catch {
      // Something that the last one started still has a file open.
      _ = try? Unmount.unmount(path, lazily: true)
    }
    rmdir(path)
    directory.remove(name + ".users")
  }

  /// Starts a process that ends the mount when nobody is left.
  private func startWatcher() {
    guard fork() == 0 else { return }
    setsid()
    // The locks of the process that started it, the launcher's pipes, the model's files.
    Daemon.closeInherited(all: true)
    let null = open("/dev/null", O_RDWR | O_CLOEXEC)
    for descriptor in [STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO] { dup2(null, descriptor) }
    chdir("/")
    for number in [SIGTERM, SIGINT, SIGHUP] { signal(number, SIG_IGN) }
    if let directory = RuntimeDirectory(directory.path, of: geteuid()),
      let last = try? OwnerLock(in: directory, name + ".users", .exclusive, isNew: false),
      directory.names(name + ".users", last.descriptor)
    {
      end(in: directory)
    }
    _exit(0)
  }
}

/// A lock on a file that belongs to an open descriptor (fcntl(2): F_OFD_SETLK): it can become exclusive in one step.
private struct OwnerLock {
  enum Kind { case shared, exclusive }

  let descriptor: Int32

  /// Waits for the lock. Children inherit the descriptor; daemons close it (`Daemon.closeInherited`).
  init(in directory: RuntimeDirectory, _ name: String, _ kind: Kind, isNew: Bool = true) throws(MountError) {
    while true {
      guard let file = directory.file(name, O_RDWR | (isNew ? O_CREAT : 0)) else {
        throw .mountpointUnreadable(path: "\(directory.path)/\(name)", errno: errno)
      }
      _ = fcntl(file, F_SETFD, 0)
      while !OwnerLock.set(file, kind == .shared ? F_RDLCK : F_WRLCK, waits: true) && errno == EINTR {}
      // Not the one that its last user has just removed.
      if !isNew || directory.names(name, file) {
        descriptor = file
        return
      }
      close(file)
    }
  }

  /// Nobody else has it.
  func becomesExclusive() -> Bool { OwnerLock.set(descriptor, F_WRLCK, waits: false) }

  func keepFromChildren() { _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC) }

  func release() {
    _ = OwnerLock.set(descriptor, F_UNLCK, waits: false)
    close(descriptor)
  }

  private static func set(_ file: Int32, _ type: Int32, waits: Bool) -> Bool {
    zerofs_owner_lock(file, Int16(type), waits ? 1 : 0) == 0
  }
}
