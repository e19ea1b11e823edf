import Bytes
import Checkpoints
import Glibc
import HuggingFace
import Store

/// What a command's first argument names: a model directory, or an archive of one, which brings options along.
struct ModelSource {
  let files: any ModelFiles
  let directory: HuggingFaceDirectory
  /// Options of the checkpoint that an archive was made for.
  private let recorded: CheckpointOptions

  init(path: String) throws {
    var status = stat()
    if stat(path, &status) == 0, status.st_mode & S_IFMT == S_IFREG {
      let archive = try ModelArchive(path: path)
      (files, recorded) = (archive, archive.options)
    } else {
      (files, recorded) = (try DiskDirectory(path), CheckpointOptions())
    }
    directory = try HuggingFaceDirectory(files)
  }

  /// Plans checkpoints with the options of the command line, and those of an archive where there are none.
  func planner(_ flags: CheckpointFlags) throws -> CheckpointPlanner {
    try planner(flags.options().over(recorded))
  }

  func planner(_ options: CheckpointOptions) throws -> CheckpointPlanner {
    try CheckpointPlanner(directory, options)
  }
}
