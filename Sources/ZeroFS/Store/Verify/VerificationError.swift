import Bytes

/// Why there is nothing to verify, or what came of it.
package enum VerificationError: Failure, Equatable {
  case noCheckpoint(path: String, why: String)
  /// No model to compare with.
  case noModel(path: String)
  case differs(path: String, findings: Int)
  /// Nothing differs, and it isn't all of the tree.
  case partial(path: String, files: Int, of: Int)

  package var exitStatus: ExitStatus {
    switch self {
    case .noCheckpoint, .noModel: .source
    case .differs: .differs
    case .partial: .partial
    }
  }

  package var description: String {
    switch self {
    case .noCheckpoint(let path, let why):
      "\(path): not a checkpoint, a mount or an archive: \(why). Give what zerofs or DeepSpeed wrote."
    case .noModel(let path):
      "\(path): there is no manifest in it, so there must be a model to compare it with: give --against HF_DIR."
    case .differs(let path, let findings):
      "\(path): \(findings == 1 ? "1 difference" : "\(findings) differences"), named above."
    case .partial(let path, let files, let all):
      "\(path): \(files) of the \(all) files of the checkpoint agree with the manifest, which names no more: --files chose "
        + "them. Run materialize without --files for the rest."
    }
  }
}
