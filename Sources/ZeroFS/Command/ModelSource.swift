import ArgumentParser
import Bytes
import Checkpoints
import Glibc
import HuggingFace
import Store

/// How a model's files are read.
struct SourceOptions: ParsableArguments {
  @Flag(
    help:
      "Follow symbolic links out of the model directory. Those into the Hub's own cache are always followed.")
  var followLinks = false
}

/// What a command's first argument names: a model directory, or an archive of one, which brings options along.
struct ModelSource {
  let files: any ModelFiles
  let directory: HuggingFaceDirectory
  /// Options of the checkpoint that an archive was made for.
  private let recorded: CheckpointOptions

  init(path: String, _ options: SourceOptions) throws {
    var status = stat()
    if stat(path, &status) == 0, status.isRegularFile {
      if let file = try? SourceFile(path: path), let given = GivenFile(file) {
        throw SourceError.notADirectory(path: path, given)
      }
      let archive = try ModelArchive(path: path)
      (files, recorded) = (archive, archive.options)
    } else {
      (files, recorded) = (try DiskDirectory(path, followsLinks: options.followLinks), CheckpointOptions())
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
