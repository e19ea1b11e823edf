import Bytes
import Glibc
import HuggingFace

/// The forks of Megatron-DeepSpeed, as far as their checkpoints differ.
package enum MegatronFlavor: String, Sendable, CaseIterable {
  /// argonne-lcf/Megatron-DeepSpeed.
  case alcf
  /// deepspeedai/Megatron-DeepSpeed before #441 (676a482c), which brought FPDT.
  case upstream
  /// The same since: attention reads queries, keys and values as thirds of a tensor-parallel rank's rows.
  case upstreamFPDT = "upstream-fpdt"

  /// The flavor of a checkout: the ALCF fork logs through ezpz, and FPDT is a module of DeepSpeed's that the transformer of
  /// upstream imports.
  ///
  /// - Throws: `MegatronFlavorError` where `path` isn't a checkout of one of them.
  package init(checkout path: String) throws(MegatronFlavorError) {
    func text(_ file: String) throws(MegatronFlavorError) -> String {
      do {
        return String(
          decoding: try SourceFile.contents(of: "\(path)/megatron/\(file)"), as: UTF8.self)
      } catch { throw .notACheckout(path: path, missing: "megatron/\(file)") }
    }
    let (transformer, checkpointing) = (try text("model/transformer.py"), try text("checkpointing.py"))
    guard checkpointing.utf8.firstRange(of: "deepspeed".utf8) != nil else {
      throw .withoutDeepSpeed(path: path)
    }
    self =
      checkpointing.utf8.firstRange(of: "import ezpz".utf8) != nil
      ? .alcf
      : transformer.utf8.firstRange(of: "deepspeed.sequence.fpdt_layer".utf8) != nil
        ? .upstreamFPDT : .upstream
  }

  /// ALCF's own, of its learning rate (`megatron/checkpointing.py`: `save_checkpoint`).
  var hasLearningRateFile: Bool { self == .alcf }

  /// Whether `GPTModel` registers its rotary frequencies as a buffer (`megatron/model/rotary_pos_embedding.py`).
  var registersRotaryFrequencies: Bool { self != .upstreamFPDT }

  /// Whether a rank's rows of the fused attention weight are its queries, its keys, its values, instead of the same for one
  /// group of heads after the other (`megatron/model/transformer.py`: `ParallelAttention.forward`).
  var splitsAttentionInThirds: Bool { self == .upstreamFPDT }

  /// Attributes of `args` that the fork's parser hasn't (`megatron/arguments.py`).
  var missingArguments: Set<String> { self == .alcf ? [] : Self.argumentsOfALCF }

  private static let argumentsOfALCF: Set<String> = [
    "sophiag_beta1", "sophiag_beta2", "sophiag_rho", "dshampooadamw_max_preconditioner_dim",
    "dshampooadamw_precondition_freq", "dshampooadamw_use_decoupled_weight_decay", "dshampooadamw_eps",
    "muon_momentum", "muon_nesterov", "muon_ns_steps", "muonadamw_beta1", "muonadamw_beta2", "muonadamw_eps",
    "muonclip_t", "muonclip_alpha", "trace_dir", "schedulefree_for_each", "train_range_to_skip",
    "train_iters_to_skip", "adjust_word_embedding_init", "word_embedding_init_std", "lr_constant_tokens",
    "lr_constant_fraction", "lr_cooldown_tokens", "lr_cooldown_fraction", "lr_constant_plus_cooldown",
    "lr_constant_plus_cooldown_frac", "lr_finder", "constant_lr", "timescale", "data_file_list",
    "shuffle_sample_in_corpus", "blend_sample_in_corpus", "multiprocessing_context", "use_mics",
  ]
}

/// A directory that no flavor can be told from.
package enum MegatronFlavorError: Failure, Equatable {
  case notACheckout(path: String, missing: String)
  case withoutDeepSpeed(path: String)

  package var exitStatus: ExitStatus {
    switch self {
    case .notACheckout, .withoutDeepSpeed: .run
    }
  }

  package var description: String {
    switch self {
    case .notACheckout(let path, let missing):
      "\(path): no \(missing), so this is no checkout of Megatron-DeepSpeed. Give its top directory, or --flavor."
    case .withoutDeepSpeed(let path):
      "\(path): megatron/checkpointing.py knows nothing of DeepSpeed, so this is another Megatron. Give a checkout of "
        + "Megatron-DeepSpeed, or --flavor."
    }
  }
}
