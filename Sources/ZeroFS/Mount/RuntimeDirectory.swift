import Bytes
import CFuse
import Glibc

/// The directory in which the mounts of one user on this machine leave notes for later calls of zerofs. It is in memory, gone
/// after a reboot, and nobody else can write there.
///
/// No variable of the environment is asked: a daemon that a job started and a shell that unmounts it must find the same place.
final class RuntimeDirectory: Sendable {
  let path: String
  private let descriptor: Int32

  /// The places of a user, the best first. Without a session of systemd's there is no `/run/user/UID`, and a container may have
  /// nothing but `/dev/shm` that can be written, or a `/run` that is on a disk: such places come last.
  static func places(of user: uid_t) -> [String] {
    let places = [
      user == 0 ? "/run/zerofs" : "/run/user/\(user)/zerofs", "/tmp/zerofs-\(user)",
      "/dev/shm/zerofs-\(user)",
    ]
    return places.filter(isInMemory) + places.filter { !isInMemory($0) }
  }

  /// The directory `path`, if it is one that `user` alone can write. A link that someone planted there is not followed.
  init?(_ path: String, of user: uid_t) {
    let descriptor = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
    guard descriptor >= 0 else { return nil }
    var status = stat()
    guard fstat(descriptor, &status) == 0, status.st_uid == user, status.st_mode & 0o022 == 0 else {
      close(descriptor)
      return nil
    }
    self.path = path
    self.descriptor = descriptor
  }

  deinit { close(descriptor) }

  /// The directory of whoever runs this, made where there is none.
  static func own(in places: [String] = places(of: geteuid())) throws(MountError) -> RuntimeDirectory {
    for path in places {
      mkdir(path, 0o700)
      if let directory = RuntimeDirectory(path, of: geteuid()) { return directory }
    }
    throw .noRuntimeDirectory(tried: places)
  }

  private static func isInMemory(_ path: String) -> Bool {
    var status = statfs()
    let tmpfs = 0x0102_1994  // TMPFS_MAGIC of linux/magic.h
    return statfs(directoryPath(of: path), &status) == 0 && status.f_type == tmpfs
  }

  /// A descriptor of the file `name`, which must be regular; `nil` with an errno otherwise.
  func file(_ name: String, _ flags: Int32) -> Int32? {
    let file = openat(descriptor, name, flags | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0o600)
    guard file >= 0 else { return nil }
    var status = stat()
    if fstat(file, &status) == 0, status.st_mode & S_IFMT == S_IFREG { return file }
    close(file)
    errno = EINVAL
    return nil
  }

  func remove(_ name: String) { unlinkat(descriptor, name, 0) }

  /// Whether `file` is what `name` names now.
  func names(_ name: String, _ file: Int32) -> Bool {
    var (named, opened) = (stat(), stat())
    return fstatat(descriptor, name, &named, AT_SYMLINK_NOFOLLOW) == 0 && fstat(file, &opened) == 0
      && (named.st_dev, named.st_ino) == (opened.st_dev, opened.st_ino)
  }

  /// What the files about the mountpoint `path` (absolute, without symbolic links) are called. Another mount namespace may have
  /// another directory of that path.
  static func name(of path: String) -> String {
    var namespace = stat()
    stat("/proc/self/ns/mnt", &namespace)
    return String(SHA256("\(namespace.st_ino) \(path)".utf8).prefix, digits: 16, radix: 16)
  }
}

/// The right to mount at one mountpoint, from the look at what is there until the mount is in the mount table. The kernel takes
/// it back from a process that dies.
final class MountLock: Sendable {
  private let directory: RuntimeDirectory
  private let name: String
  private let descriptor: Int32

  /// - Throws: `.beingMounted` if another process has it.
  init(_ path: String) throws(MountError) {
    directory = try RuntimeDirectory.own()
    name = RuntimeDirectory.name(of: path) + ".lock"
    while true {
      guard let file = directory.file(name, O_RDWR | O_CREAT) else {
        throw .mountpointUnreadable(path: path, errno: errno)
      }
      guard flock(file, LOCK_EX | LOCK_NB) == 0 else {
        close(file)
        throw .beingMounted(path: path)
      }
      // Not the one that its last owner has just removed.
      if directory.names(name, file) {
        descriptor = file
        return
      }
      close(file)
    }
  }

  /// Gives it back, for all processes that inherited it: early in the parent of a daemon would be too early.
  func release() {
    if directory.names(name, descriptor) { directory.remove(name) }
    flock(descriptor, LOCK_UN)
  }

  deinit {
    release()
    close(descriptor)
  }
}
