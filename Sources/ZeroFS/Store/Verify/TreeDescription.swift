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
    guard let latest = try? SourceFile.contents(of: "\(root)/latest") else {
      throw VerificationError.noCheckpoint(path: root, why: "there is no file `latest`")
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
    options = TreeDescription.options(
      try TorchFile(file).value, isTied: model.configurationFile.tieWordEmbeddings == true,
      isTrainers: access("\(root)/trainer_state.json", F_OK) == 0)
  }

  private static func options(_ state: PickleValue, isTied: Bool, isTrainers: Bool) -> CheckpointOptions {
    let (args, configuration) = (state["args"], state["ds_config"])
    var options = CheckpointOptions()
    if !isTrainers { options.iteration = state["global_steps"]?.integer }
    options.zeroStage = configuration?["zero_optimization"]?["stage"]?.integer ?? 0
    options.subGroupSize = configuration?["zero_optimization"]?["sub_group_size"]?.wholeNumber
    options.gradAccumDtype = configuration?["data_types"]?["grad_accum_dtype"]?.text.flatMap {
      CheckpointOptions.Precision(rawValue: $0)
    }
    options.deepSpeedVersion = state["ds_version"]?.text
    func isEnabled(_ section: String) -> Bool { configuration?[section]?["enabled"]?.isTrue == true }
    options.dtype = isEnabled("bf16") ? .bf16 : isEnabled("fp16") ? .fp16 : .fp32
    let ranks = state["dp_world_size"]?.integer ?? 1
    guard let args, case .build = args else {
      // An optimizer of DeepSpeed's has one group, whoever asked for it.
      let hasTrainersGroups = isTrainers && configuration?["optimizer"] == nil
      (options.flavor, options.dp) = (hasTrainersGroups ? .trainer : .hf, ranks)
      return options
    }
    options.sp = args["ds_sequence_parallel_size"]?.integer ?? 1
    options.dp = ranks / max(options.sp ?? 1, 1)
    options.tp = args["tensor_model_parallel_size"]?.integer
    options.pp = args["pipeline_model_parallel_size"]?.integer
    options.makeVocabSizeDivisibleBy = args["make_vocab_size_divisible_by"]?.integer
    options.optimizer = args["optimizer"]?.text
    options.noPipelineParallel = args["no_pipeline_parallel"]?.isTrue
    options.fusedAdam = args["ds_fused_adam"]?.isTrue
    // An option for tied models only.
    if isTied {
      options.untieEmbeddingsAndOutputWeights = args["untie_embeddings_and_output_weights"]?.isTrue
    }
    return options
  }
}

extension PickleValue {
  fileprivate var text: String? { if case .string(let text) = self { text } else { nil } }
  fileprivate var isTrue: Bool { if case .bool(true) = self { true } else { false } }
  /// An integer; JSON may have one as `1e9`.
  fileprivate var wholeNumber: Int? {
    if case .float(let value) = self { Int(exactly: value) } else { integer }
  }
}
