import Bytes
import Glibc

/// What is wrong with the place that `materialize` writes to. Nothing that was there is lost, and no half-written file stays.
package enum TargetError: Failure, Equatable {
  /// A file or directory can't be made or written.
  case unwritable(path: String, errno: Int32)
  /// Found before anything was written: there is less room than the files need, holes not counted.
  case tooSmall(path: String, neededBytes: Int, freeBytes: Int)
  /// The file system filled up meanwhile.
  case full(path: String, errno: Int32, keepsFinished: Bool)
  /// Something is there that isn't what would be written.
  case inTheWay(path: String, why: String)
  /// Another process writes the same file, or another checkpoint to the same directory.
  case busy(path: String)
  /// No file of the tree has such a name.
  case noSuchFiles(pattern: String)
  /// `--rank` and `--world` contradict each other.
  case share(rank: Int, world: Int)
  /// A launcher's variables gave this process a share, and nobody seems to write the others.
  case partial(path: String, LaunchedShare, unseen: [Int])

  package var exitStatus: ExitStatus {
    switch self {
    case .unwritable, .inTheWay: .target
    case .tooSmall, .full: .diskFull
    case .busy: .busy
    case .noSuchFiles, .share: .layout
    case .partial: .partial
    }
  }

  package var description: String {
    switch self {
    case .unwritable(let path, let code):
      "\(path): can't be written: \(errnoMessage(code)). Choose another place, or correct this one."
    case .tooSmall(let path, let needed, let free):
      "\(path): needs \(needed.bytesText) and has \(free.bytesText) free. Nothing was written. "
        + "Make room, choose another place, or mount instead: a mount needs none."
    case .full(let path, let code, keepsFinished: true):
      "\(path): \(errnoMessage(code)). Finished files are kept: make room, and the same command goes on from there."
    case .full(let path, let code, keepsFinished: false):
      "\(path): \(errnoMessage(code)). Nothing of it is kept: make room, or choose another place."
    case .inTheWay(let path, let why):
      "\(path): \(why). Nothing of it was changed. Move it away or choose another directory."
    case .busy(let path):
      "\(path): another zerofs is writing it. Wait for that one, or give each its share with --rank and --world."
    case .noSuchFiles(let pattern):
      "--files \(pattern): no file of the checkpoint has such a name. `zerofs plan` lists them."
    case .share(let rank, let world):
      "rank \(rank) of \(world): ranks count from 0 to one below the number of processes, which is \(Share.maxWorld) "
        + "at most. Correct --rank and --world."
    case .partial(let path, let launched, let unseen):
      "\(path): incomplete: this is \(launched), and there is no sign of \(TargetError.ranks(unseen)). "
        + "Start them, or give --rank 0 --world 1 to write all of it here."
    }
  }

  private static func ranks(_ all: [Int]) -> String {
    let some = all.prefix(4).map(String.init).joined(separator: ", ")
    return all.count == 1
      ? "rank \(some)" : "ranks \(some)\(all.count > 4 ? " and \(all.count - 4) more" : "")"
  }

  /// Of a system call that writes to `path`.
  init(_ path: String, errno code: Int32, keepsFinished: Bool = true) {
    self =
      code == ENOSPC || code == EDQUOT
      ? .full(path: path, errno: code, keepsFinished: keepsFinished) : .unwritable(path: path, errno: code)
  }

  /// Of a directory that can't be opened or listed.
  init(reading error: ReadError) {
    self = .inTheWay(path: error.path, why: "can't be opened as a directory (\(error.reason))")
  }
}
