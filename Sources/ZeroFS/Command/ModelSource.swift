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

/// What a command's first argument names: a model directory, a model of the Hub's that is in its cache, or an archive, which
/// brings options along.
struct ModelSource {
  let files: any ModelFiles
  let directory: HuggingFaceDirectory
  /// Options of the checkpoint that an archive was made for.
  private let recorded: CheckpointOptions

  init(path: String, _ options: SourceOptions) throws {
    var status = stat()
    let exists = stat(path, &status) == 0
    if exists, status.isRegularFile {
      if let file = try? SourceFile(path: path), let given = GivenFile(file) {
        throw SourceError.notADirectory(path: path, given)
      }
      let archive = try ModelArchive(path: path)
      (files, recorded) = (archive, archive.options)
    } else {
      let place = exists ? path : HubCache.snapshot(of: path) ?? path
      (files, recorded) = (try DiskDirectory(place, followsLinks: options.followLinks), CheckpointOptions())
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
