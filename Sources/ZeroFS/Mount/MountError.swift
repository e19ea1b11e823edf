import Bytes
import Glibc

/// Why a tree could not be mounted or unmounted.
package enum MountError: Failure, Equatable {
  // The mount point.
  case mountpointMissing(path: String)
  case mountpointNotDirectory(path: String)
  case mountpointNotEmpty(path: String)
  /// The mount point, or a directory above it, can't be examined.
  case mountpointUnreadable(path: String, errno: Int32)
  /// Something is mounted at `path` already: `source`, of type `type`.
  case alreadyMounted(path: String, source: String, type: String)
  /// A mount whose daemon died is in the way and can't be removed.
  case deadMountRemains(path: String, reason: String)
  case notMounted(path: String)
  case notZerofs(path: String, source: String, type: String)

  // FUSE.
  case deviceUnavailable(errno: Int32)
  case fusermountMissing
  /// libfuse refused the options or the mount; `reason` is what it said.
  case mountFailed(path: String, options: [String], reason: String)
  /// The daemon ended before the kernel and it had agreed, on a signal.
  case daemonKilled(signal: Int32)

  // The system.
  case sessionFailed(path: String, errno: Int32)
  case rootUnreadable(path: String, errno: Int32)
  case daemonNotStarted(errno: Int32)
  case logUnwritable(path: String, errno: Int32)
  case unmountFailed(path: String, reason: String)
  /// Someone works below the mount point.
  case busy(path: String)

  package var exitStatus: ExitStatus {
    switch self {
    case .mountpointMissing, .mountpointNotDirectory, .mountpointNotEmpty, .mountpointUnreadable,
      .alreadyMounted,
      .deadMountRemains, .notMounted, .notZerofs:
      .mountpoint
    case .deviceUnavailable, .fusermountMissing, .mountFailed, .daemonKilled: .fuseUnavailable
    case .sessionFailed, .rootUnreadable, .daemonNotStarted, .logUnwritable, .unmountFailed: .inputOutput
    case .busy: .busy
    }
  }

  package var description: String {
    switch self {
    case .mountpointMissing(let path):
      "\(path): the mount point does not exist; make the directory first"
    case .mountpointNotDirectory(let path):
      "\(path): the mount point is not a directory"
    case .mountpointNotEmpty(let path):
      "\(path): the mount point is not empty, and a mount would hide what it holds; choose an empty directory"
    case .mountpointUnreadable(let path, let code):
      "\(path): the mount point cannot be examined: \(errnoMessage(code))"
    case .alreadyMounted(let path, let source, let type):
      "\(path): \(source) is already mounted there (\(type)); unmount it first, or choose another directory"
    case .deadMountRemains(let path, let reason):
      "\(path): a mount whose daemon died is in the way and could not be removed: \(reason)"
    case .notMounted(let path):
      "\(path): nothing is mounted there"
    case .notZerofs(let path, let source, let type):
      "\(path): \(source) is mounted there (\(type)), which is not a zerofs mount; use umount(8)"
    case .deviceUnavailable(let code) where code == ENOENT || code == ENODEV || code == ENXIO:
      "/dev/fuse: \(errnoMessage(code)); load the kernel module (modprobe fuse), in a container pass --device /dev/fuse"
    case .deviceUnavailable(let code):
      "/dev/fuse: cannot be opened: \(errnoMessage(code)); ask for read and write permission on it, or run as root"
    case .fusermountMissing:
      "fusermount3 is not in PATH, and only root mounts without it; install the package fuse3"
    case .mountFailed(let path, let options, let reason):
      "\(path): cannot be mounted with the options \(options.joined(separator: ",")): \(reason)"
    case .daemonKilled(let signal):
      "the daemon was killed by signal \(signal) before it served; see its log, or run it with --foreground"
    case .sessionFailed(let path, let code):
      "\(path): the connection to the kernel failed: \(errnoMessage(code))"
    case .rootUnreadable(let path, let code):
      "\(path): mounted, but the root cannot be read: \(errnoMessage(code))"
    case .daemonNotStarted(let code):
      "the daemon could not be started: \(errnoMessage(code)); --foreground serves without one"
    case .logUnwritable(let path, let code):
      "\(path): the log file cannot be written: \(errnoMessage(code))"
    case .unmountFailed(let path, let reason):
      "\(path): cannot be unmounted: \(reason)"
    case .busy(let path):
      "\(path): busy: a program has a file or its working directory there. End it (fuser -vm shows it), or unmount with --lazy."
    }
  }
}
