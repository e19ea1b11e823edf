import Bytes
import Torch

/// What is wrong with a checkpoint that a run saved. Nothing is mounted or written.
package enum TrainedError: Failure, Equatable {
  /// There is no checkpoint, or not the one that is asked for.
  case noCheckpoint(path: String, why: String)
  /// A file that the checkpoint's layout implies isn't there.
  case missing(path: String, of: String)
  /// A file can't be read as what it should be.
  case unreadable(path: String, why: String)
  /// Files of different runs or steps.
  case disagree(path: String, what: String, has: String, needs: String)
  /// Something that no rule of zerofs' covers.
  case unsupported(path: String, what: String, why: String)
  /// `--like` and the run disagree.
  case conflict(like: String, argument: String, has: String, needs: String)
  /// Parameters that have no place in a Hugging Face directory.
  case withoutPlace(path: String, parameters: [String], elements: Int)
  /// A state of the optimizer that isn't elementwise.
  case optimizerState(path: String, name: String)
  /// An option that says nothing about such a source.
  case option(String, why: String)

  package var exitStatus: ExitStatus {
    switch self {
    case .noCheckpoint, .missing, .unreadable, .disagree: .source
    case .unsupported, .conflict, .withoutPlace, .optimizerState: .model
    case .option: .layout
    }
  }

  package var description: String {
    switch self {
    case .noCheckpoint(let path, let why):
      "\(path): not a checkpoint of DeepSpeed: \(why). Give the directory that was saved to, or one global_stepN of it."
    case .missing(let path, let owner):
      "\(path): no such file, but \(owner) has one. The save was not finished or not copied whole: give --tag another step, "
        + "or fetch the file."
    case .unreadable(let path, let why):
      "\(path): \(why). If the run still saves this step, wait for `latest` to name it; else give --tag another step."
    case .disagree(let path, let what, let has, let needs):
      "\(path): \(what) is \(has), but \(needs) in the checkpoint's other files. Files of two saves are mixed: fetch all of one."
    case .unsupported(let path, let what, let why):
      "\(path): \(what): \(why)"
    case .conflict(let like, let argument, let has, let needs):
      "\(like): the run's \(argument) is \(has), but this configuration means \(needs). Give the --like that the run started "
        + "from, or leave it out."
    case .withoutPlace(let path, let parameters, let elements):
      "\(path): \(parameters.count == 1 ? "1 parameter has" : "\(parameters.count) parameters have") no place in the model's "
        + "Hugging Face files, and were trained: \(parameters.prefix(4).joined(separator: ", "))"
        + "\(parameters.count > 4 ? ", …" : "") (\(elements) elements). --drop leaves them out, and changes the model; "
        + "a --like of a family that has them, or none, keeps them."
    case .optimizerState(let path, let name):
      "\(path): the optimizer's state \(name) isn't one number for each of the parameters', so it can't be cut anew. "
        + "Resume at the layout that saved it, or take the weights alone: --as hf."
    case .option(let option, let why):
      "\(option): \(why)."
    }
  }
}

extension TrainedError {
  /// Of a file that `torch.save` wrote.
  init(_ error: TorchFileError, path: String) {
    let text = "\(error)"
    self = .unreadable(
      path: path, why: text.hasPrefix(path + ": ") ? String(text.dropFirst(path.count + 2).dropLast()) : text)
  }
}
