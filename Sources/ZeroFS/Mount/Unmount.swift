import Bytes
import CFuse
import Glibc

/// Unmounting what `mount` mounted.
package enum Unmount {
  /// How long a daemon may take to end; it may have to wait for a read of a source.
  private static let patience: Int32 = 30_000

  /// Unmounts the zerofs at `path`. Returns when it is gone and its daemon has let go of the source files, so that their file
  /// system can be unmounted next.
  ///
  /// - Parameter lazily: take it out of the tree now. Programs that have files open go on; the daemon ends when the last of them
  ///   has closed its own, which isn't waited for.
  /// - Returns: why the daemon had died, if it had.
  @discardableResult
  package static func unmount(_ path: String, lazily: Bool = false) throws(MountError) -> String? {
    let point = try Mountpoint.resolve(path)
    guard let mount = MountEntry.at(point) else {
      guard case .died(let reason) = MountRecord.find(point) else { throw .notMounted(path: point) }
      MountRecord.forget(point)
      throw .notMountedAnyMore(path: point, reason: reason)
    }
    guard mount.isZerofs else { throw .notZerofs(path: point, source: mount.source, type: mount.type) }
    let server = MountRecord.find(point, of: mount.user)
    let mounts = MountEntry.count(at: point)
    if let reason = detach(point, lazily: lazily) {
      throw reason == errnoMessage(EBUSY) ? .busy(path: point) : .unmountFailed(path: point, reason: reason)
    }
    // fusermount3 and the kernel are done when they return; another mount namespace's copy may lag.
    for _ in 0..<100 where MountEntry.count(at: point) >= mounts { usleep(50_000) }
    if MountEntry.count(at: point) >= mounts {
      throw .unmountFailed(path: point, reason: "it is still mounted after 5 s")
    }
    switch server {
    case .lives(let process):
      if !lazily && !process.waitForEnd(milliseconds: patience) {
        throw .daemonRemains(path: point, process: process.identifier)
      }
      return nil
    case .died(let reason):
      MountRecord.forget(point)
      return reason
    case nil:
      return nil
    }
  }

  /// Detaches the topmost mount at `path`: as root by umount2(2), otherwise through fusermount3.
  ///
  /// - Returns: why that failed; `nil` when it worked.
  package static func detach(_ path: String, lazily: Bool, isRoot: Bool = geteuid() == 0) -> String? {
    if !isRoot { return fusermount(lazily ? ["-u", "-z", "--", path] : ["-u", "--", path]) }
    let flags = Int32(UMOUNT_NOFOLLOW) | (lazily ? Int32(MNT_DETACH) : 0)
    return umount2(path, flags) == 0 ? nil : errnoMessage(errno)
  }

  /// Runs fusermount3; its last word on stderr (`fusermount3: failed to unmount /mnt: Device or resource busy`) is the reason.
  private static func fusermount(_ arguments: [String]) -> String? {
    var pipes: [Int32] = [-1, -1]
    guard zerofs_pipe(&pipes) == 0 else { return errnoMessage(errno) }
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    posix_spawn_file_actions_adddup2(&actions, pipes[1], STDERR_FILENO)
    defer { posix_spawn_file_actions_destroy(&actions) }
    var argv = (["fusermount3"] + arguments).map { strdup($0) } + [nil]
    defer { for argument in argv { free(argument) } }
    var child: pid_t = 0
    let code = posix_spawnp(&child, "fusermount3", &actions, nil, &argv, environ)
    close(pipes[1])
    defer { close(pipes[0]) }
    guard code == 0 else { return "fusermount3: \(errnoMessage(code))" }
    var said: [UInt8] = []
    var part = [UInt8](repeating: 0, count: 1024)
    while case let count = read(pipes[0], &part, part.count), count > 0 { said += part[..<count] }
    var status: Int32 = 0
    while waitpid(child, &status, 0) < 0 && errno == EINTR {}
    if status == 0 { return nil }
    let message =
      String(decoding: said, as: UTF8.self).split(separator: "\n").last.map(String.init) ?? "no reason given"
    return message.hasSuffix(errnoMessage(EBUSY)) ? errnoMessage(EBUSY) : message
  }
}
