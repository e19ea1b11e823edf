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

/// A command's first argument, with the options that decide what is served of it.
struct SourceArguments: ParsableArguments {
  @Argument(
    help: ArgumentHelp(
      "A Hugging Face model directory, an archive of one (`zerofs materialize --compress`), or a checkpoint that a run saved.",
      valueName: "source"))
  var path: String

  @OptionGroup
  var options: CheckpointFlags

  @OptionGroup
  var sourceOptions: SourceOptions

  /// - Parameter path: where it is, if not at `path` as given.
  func model(at path: String? = nil) throws -> ModelSource {
    try ModelSource(path: path ?? self.path, options.options(), sourceOptions)
  }
}

/// What a command's first argument names: a model directory, a model of the Hub's that is in its cache, an archive, which brings
/// options along, or a checkpoint that a run saved.
struct ModelSource {
  let source: CheckpointSource
  /// The files of a model; `nil` for a checkpoint.
  let files: (any ModelFiles)?
  /// Those of the command line; of an archive where there are none.
  private let options: CheckpointOptions

  init(path: String, _ options: CheckpointOptions, _ sourceOptions: SourceOptions) throws {
    var status = stat()
    let exists = stat(path, &status) == 0
    if exists, status.isRegularFile {
      if let file = try? SourceFile(path: path), let given = GivenFile(file) {
        throw SourceError.notADirectory(path: path, given)
      }
      let archive = try ModelArchive(path: path)
      if options.view == .hf, let option = options.ofExports {
        throw TrainedError.option(
          option, why: "\(path) holds the files of a model, which --as hf serves as they are")
      }
      (files, self.options) = (archive, options.over(archive.options))
      source = .model(try HuggingFaceDirectory(archive))
    } else if try options.tag != nil || TrainedCheckpoint.isOne(path) {
      (files, self.options) = (nil, options)
      source = .trained(try TrainedCheckpoint(path, tag: options.tag, like: options.like, need: options.need))
    } else {
      let place = exists ? path : HubCache.snapshot(of: path) ?? path
      let directory = try DiskDirectory(place, followsLinks: sourceOptions.followLinks)
      (files, self.options) = (directory, options)
      source = .model(try HuggingFaceDirectory(directory))
    }
  }

  func planner() throws -> CheckpointPlanner { try CheckpointPlanner(source, options) }

  /// The model directory.
  ///
  /// - Throws: `TrainedError.option` for a checkpoint, of which `what` isn't served.
  func directory(for what: String) throws -> HuggingFaceDirectory { try source.directory(for: what) }
}
