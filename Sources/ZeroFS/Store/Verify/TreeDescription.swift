import Bytes
import Glibc
import HuggingFace
import Torch

/// What a checkpoint that some program saved says of itself: the options that make zerofs' of the same layout.
package struct TreeDescription {
  package let options: [String]

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

  private static func options(_ state: PickleValue, isTied: Bool, isTrainers: Bool) -> [String] {
    let (args, configuration) = (state["args"], state["ds_config"])
    var words: [String] = []
    func add(_ option: String, _ value: PickleValue?) {
      if let text = value?.word { words += [option, text] }
    }
    func add(flag: String, _ value: PickleValue?) { if case .bool(true)? = value { words.append(flag) } }

    if !isTrainers { add("--iteration", state["global_steps"]) }
    add("--zero-stage", configuration?["zero_optimization"]?["stage"] ?? .int(0))
    add("--sub-group-size", configuration?["zero_optimization"]?["sub_group_size"])
    add("--grad-accum-dtype", configuration?["data_types"]?["grad_accum_dtype"])
    add("--deepspeed-version", state["ds_version"])
    func isEnabled(_ section: String) -> Bool {
      if case .bool(true)? = configuration?[section]?["enabled"] { true } else { false }
    }
    words += ["--dtype", isEnabled("bf16") ? "bf16" : isEnabled("fp16") ? "fp16" : "fp32"]
    let ranks = state["dp_world_size"]?.integer ?? 1
    guard let args, case .build = args else {
      // An optimizer of DeepSpeed's has one group, whoever asked for it.
      let hasTrainersGroups = isTrainers && configuration?["optimizer"] == nil
      return words + ["--flavor", hasTrainersGroups ? "trainer" : "hf", "--dp", "\(ranks)"]
    }
    let sequence = args["ds_sequence_parallel_size"]?.integer ?? 1
    words += ["--dp", "\(ranks / max(sequence, 1))", "--sp", "\(sequence)"]
    add("--tp", args["tensor_model_parallel_size"])
    add("--pp", args["pipeline_model_parallel_size"])
    add("--make-vocab-size-divisible-by", args["make_vocab_size_divisible_by"])
    add("--optimizer", args["optimizer"])
    add(flag: "--no-pipeline-parallel", args["no_pipeline_parallel"])
    add(flag: "--ds-fused-adam", args["ds_fused_adam"])
    // An option for tied models only.
    if isTied {
      add(flag: "--untie-embeddings-and-output-weights", args["untie_embeddings_and_output_weights"])
    }
    return words
  }
}

extension PickleValue {
  /// As an option's value.
  fileprivate var word: String? {
    switch self {
    case .int(let value): "\(value)"
    case .float(let value) where value == value.rounded() && abs(value) < 1e15: "\(Int(value))"
    case .string(let text): text
    default: nil
    }
  }
}
