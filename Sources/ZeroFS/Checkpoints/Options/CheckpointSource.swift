import Bytes
import Glibc
import HuggingFace

/// What a checkpoint's parameters come from.
package enum CheckpointSource: Sendable {
  /// A model before its first step.
  case model(HuggingFaceDirectory)
  /// What a run has trained.
  case trained(TrainedCheckpoint)

  /// When the newest of the files was written.
  package var modified: timespec {
    switch self {
    case .model(let directory): directory.modified
    case .trained(let checkpoint): checkpoint.modified
    }
  }

  /// The model directory.
  ///
  /// - Throws: `TrainedError.option` for a checkpoint, of which `what` isn't served.
  package func directory(for what: String) throws(TrainedError) -> HuggingFaceDirectory {
    switch self {
    case .model(let directory): return directory
    case .trained(let checkpoint):
      throw .option(what, why: "\(checkpoint.path) is a checkpoint, and this takes a model directory")
    }
  }

  /// Of the files.
  package var bytes: Int {
    switch self {
    case .model(let directory): (directory.descriptions + directory.files).reduce(0) { $0 + $1.size }
    case .trained(let checkpoint): checkpoint.sources.reduce(0) { $0 + $1.size }
    }
  }

  package var report: SourceReport {
    switch self {
    case .model(let directory): SourceReport(directory)
    case .trained(let checkpoint): SourceReport(path: checkpoint.path, checkpoint.sources)
    }
  }
}

extension CheckpointOptions {
  /// An option that changes what a Hugging Face directory of a checkpoint holds, if there is one.
  package var ofExports: String? {
    [
      ("--weights", weights != nil), ("--dtype", dtype != nil), ("--like", like != nil),
      ("--drop", drop != nil),
    ]
    .first { $0.1 }?.0
  }

  /// What these options ask of a trained checkpoint.
  package var need: TrainedCheckpoint.Need {
    view == nil ? .optimizer : (weights ?? .masters).need
  }
}
