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
  /// Another process is about to mount there.
  case beingMounted(path: String)
  case notMounted(path: String)
  /// Nothing is mounted at `path` since its daemon died.
  case notMountedAnyMore(path: String, reason: String)
  case notZerofs(path: String, source: String, type: String)

  // FUSE.
  case deviceUnavailable(errno: Int32)
  case fusermountMissing
  /// libfuse refused the options or the mount; `reason` is what it said.
  case mountFailed(path: String, options: [String], reason: String)
  /// The daemon ended before the kernel and it had agreed, on a signal.
  case daemonKilled(signal: Int32)
  /// The daemon said that it served, and a first read failed: with `errno`, and `reason` if it had a word about it.
  case notServing(path: String, errno: Int32, signal: Int32, reason: String?)

  // The system.
  case sessionFailed(path: String, errno: Int32)
  /// No directory for locks and records.
  case noRuntimeDirectory(tried: [String])
  case daemonNotStarted(errno: Int32)
  case logUnwritable(path: String, errno: Int32)
  case unmountFailed(path: String, reason: String)
  /// Someone works below the mount point.
  case busy(path: String)
  /// It is unmounted, but the process that served it has not ended.
  case daemonRemains(path: String, process: Int32)

  /// More files and directories than a mount can number.
  case tooManyFiles(count: Int, allowed: Int)

  package var exitStatus: ExitStatus {
    switch self {
    case .mountpointMissing, .mountpointNotDirectory, .mountpointNotEmpty, .mountpointUnreadable,
      .alreadyMounted, .deadMountRemains, .beingMounted, .notMounted, .notMountedAnyMore, .notZerofs:
      .mountpoint
    case .deviceUnavailable, .fusermountMissing, .mountFailed, .daemonKilled: .fuseUnavailable
    case .sessionFailed, .notServing, .noRuntimeDirectory, .daemonNotStarted, .logUnwritable, .unmountFailed:
      .inputOutput
    case .busy, .daemonRemains: .busy
    case .tooManyFiles: .layout
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
    case .beingMounted(let path):
      "\(path): another zerofs is about to mount there; wait for it, or choose another directory"
    case .notMountedAnyMore(let path, let reason):
      "\(path): nothing is mounted there any more. Of the daemon that served there last: \(reason)"
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
    case .notServing(let path, let code, let signal, let reason):
      "\(path): was mounted, but a first read failed (\(errnoMessage(code))) and it was unmounted again. The daemon "
        + (reason.map { "(\($0))" }
          ?? (signal == 0 ? "has told why in its log" : "was killed by signal \(signal)"))
        + "; --foreground shows what it says"
    case .noRuntimeDirectory(let tried):
      "\(tried.joined(separator: ", ")): none of them can be made, or is a directory that only you can write; "
        + "zerofs keeps a lock for each mountpoint there. Make one of them, with mode 700"
    case .daemonNotStarted(let code):
      "the daemon could not be started: \(errnoMessage(code)); --foreground serves without one"
    case .logUnwritable(let path, let code):
      "\(path): the log file cannot be written: \(errnoMessage(code))"
    case .unmountFailed(let path, let reason):
      "\(path): cannot be unmounted: \(reason)"
    case .daemonRemains(let path, let process):
      "\(path): unmounted, but its daemon (process \(process)) still has the source files open. It may wait for a read of "
        + "a slow source; end it with kill -9 if that never comes."
    case .tooManyFiles(let count, let allowed):
      "the layout has \(count) files and directories, and a mount numbers at most \(allowed). Mount fewer ranks, or write "
        + "the tree with zerofs materialize."
    case .busy(let path):
      "\(path): busy: a program has a file or its working directory there. End it (fuser -vm shows it), or unmount with --lazy."
    }
  }
}
