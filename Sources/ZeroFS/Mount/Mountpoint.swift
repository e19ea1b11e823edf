import Bytes
import CFuse
import Glibc
import Logging

/// A directory that can be mounted on: everything that speaks against it was found before anything was mounted.
package struct Mountpoint: Sendable {
  /// Absolute, without symbolic links.
  package let path: String
  /// Nobody else mounts there as long as this is.
  let lock: MountLock

  /// Checks the directory and FUSE. Removes the rest of a mount of ours whose daemon died, and says why it did.
  ///
  /// - Parameter options: what the user gave with `-o`.
  package init(_ path: String, options: [String] = [], logger: Logger) throws(MountError) {
    self.path = try Mountpoint.resolve(path)
    lock = try MountLock(self.path)
    try Mountpoint.removeDeadMount(at: self.path, logger)
    try Mountpoint.checkDirectory(self.path)
    try Mountpoint.checkFuse(isRoot: geteuid() == 0, options: options)
  }

  /// The absolute path without symbolic links, also where a dead mount is (`realpath` gives up there).
  static func resolve(_ path: String) throws(MountError) -> String {
    if let resolved = resolvedPath(path) { return resolved }
    let code = errno
    var components = path.split(separator: "/")
    if code == ENOTCONN, let name = components.popLast() {
      let parent = (path.hasPrefix("/") ? "/" : "./") + components.joined(separator: "/")
      if let resolved = resolvedPath(parent) { return (resolved == "/" ? "" : resolved) + "/" + name }
    }
    switch code {
    case ENOENT: throw .mountpointMissing(path: path)
    case ENOTDIR: throw .mountpointNotDirectory(path: path)
    default: throw .mountpointUnreadable(path: path, errno: code)
    }
  }

  private static func removeDeadMount(at path: String, _ logger: Logger) throws(MountError) {
    // Not stat: the kernel remembers the root's attributes beyond the daemon's death.
    var statistics = statvfs()
    // Mounts can be stacked, and each may be dead.
    while statvfs(path, &statistics) != 0, errno == ENOTCONN, let mount = MountEntry.at(path), mount.isZerofs
    {
      if let reason = Unmount.detach(path, lazily: true) {
        throw .deadMountRemains(path: path, reason: reason)
      }
      logger.notice("\(path): removed the rest of a mount of \(mount.source) whose daemon died")
    }
    if case .died(let reason) = MountRecord.find(path) {
      logger.notice("\(path): of the daemon that served there last: \(reason)")
      MountRecord.forget(path)
    }
  }

  private static func checkDirectory(_ path: String) throws(MountError) {
    if let mount = MountEntry.at(path) {
      throw .alreadyMounted(path: path, source: mount.source, type: mount.type)
    }
    guard let directory = opendir(path) else {
      if errno == ENOTDIR { throw .mountpointNotDirectory(path: path) }
      throw .mountpointUnreadable(path: path, errno: errno)
    }
    defer { closedir(directory) }
    var names = 0
    while readdir(directory) != nil { names += 1 }
    // "." and "..".
    if names > 2 { throw .mountpointNotEmpty(path: path) }
  }

  /// As root libfuse mounts by itself; otherwise, and for `auto_unmount`, through fusermount3
  /// (libfuse `lib/mount.c`: `fuse_mount_sys`).
  package static func checkFuse(
    isRoot: Bool, options: [String], device: String = "/dev/fuse", folders: [String] = programFolders
  ) throws(MountError) {
    let descriptor = open(device, O_RDWR | O_CLOEXEC)
    guard descriptor >= 0 else { throw .deviceUnavailable(errno: errno) }
    close(descriptor)
    if isRoot && !options.contains("auto_unmount") { return }
    guard folders.contains(where: { access("\($0)/fusermount3", X_OK) == 0 }) else {
      throw .fusermountMissing
    }
  }

  /// Where libfuse looks for fusermount3: where Debian has it, then in PATH.
  static var programFolders: [String] {
    let path = getenv("PATH").map { String(cString: $0) } ?? ""
    return ["/usr/bin"] + path.split(separator: ":").map(String.init)
  }
}
