import Bytes
import Checkpoints
import Glibc
import HuggingFace
import Torch

/// What a checkpoint that some program saved says of itself: the options that make zerofs' of the same layout.
package struct TreeDescription {
  package let options: CheckpointOptions

  /// Reads the first model states file of the tree at `root` (MDS `megatron/checkpointing.py`: `args`; DeepSpeed
  /// `runtime/engine.py`: `_save_checkpoint`).
  ///
  /// - Throws: `VerificationError.noCheckpoint` where there is none, `TorchFileError`.
  package init(of root: String, for model: HuggingFaceDirectory) throws {
    let latest: [UInt8]
    do { latest = try SourceFile.contents(of: "\(root)/latest") } catch {
      throw VerificationError.noCheckpoint(path: root, why: "its file `latest`: \(error.reason)")
    }
    let tag = String(decoding: latest, as: UTF8.self).filter { !$0.isWhitespace }
    let names = ["mp_rank_00_model_states.pt", "zero_pp_rank_0_mp_rank_00_model_states.pt"]
    guard
      let path: String = names.map({ "\(root)/\(tag)/\($0)" }).first(where: {
        access($0 as String, R_OK) == 0
      })
    else {
      throw VerificationError.noCheckpoint(path: "\(root)/\(tag)", why: "there is no \(names[0])")
    }
    let file: SourceFile
    do throws(ReadError) { file = try SourceFile(path: path) } catch {
      throw VerificationError.noCheckpoint(path: path, why: error.reason)
    }
    var options = CheckpointOptions(
      of: try TorchFile(file).value, isTrainers: access("\(root)/trainer_state.json", F_OK) == 0)
    if model.configurationFile.tieWordEmbeddings != true { options.untieEmbeddingsAndOutputWeights = nil }
    self.options = options
  }
}
