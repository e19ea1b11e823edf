import Bytes
import Torch

extension CheckpointOptions {
  /// What a model states file says of the run that saved it: the options that make a checkpoint of the same layout (MDS
  /// `megatron/checkpointing.py`: `args`; DeepSpeed `runtime/engine.py`: `_save_checkpoint`).
  ///
  /// - Parameter isTrainers: HF Trainer saved it.
  package init(of state: PickleValue, isTrainers: Bool) {
    self.init()
    let (args, configuration) = (state["args"], state["ds_config"])
    if !isTrainers { iteration = state["global_steps"]?.integer }
    zeroStage = configuration?["zero_optimization"]?["stage"]?.integer ?? 0
    subGroupSize = configuration?["zero_optimization"]?["sub_group_size"]?.wholeNumber
    gradAccumDtype = configuration?["data_types"]?["grad_accum_dtype"]?.text.flatMap {
      CheckpointOptions.Precision(rawValue: $0)
    }
    deepSpeedVersion = state["ds_version"]?.text
    func isEnabled(_ section: String) -> Bool { configuration?[section]?["enabled"]?.isTrue == true }
    dtype = isEnabled("bf16") ? .bf16 : isEnabled("fp16") ? .fp16 : .fp32
    let ranks = state["dp_world_size"]?.integer ?? 1
    guard let args, case .build = args else {
      // An optimizer of DeepSpeed's has one group, whoever asked for it.
      let hasTrainersGroups = isTrainers && configuration?["optimizer"] == nil
      (flavor, dp) = (hasTrainersGroups ? .trainer : .hf, ranks)
      return
    }
    sp = args["ds_sequence_parallel_size"]?.integer ?? 1
    dp = ranks / max(sp ?? 1, 1)
    tp = args["tensor_model_parallel_size"]?.integer
    pp = args["pipeline_model_parallel_size"]?.integer
    makeVocabSizeDivisibleBy = args["make_vocab_size_divisible_by"]?.integer
    optimizer = args["optimizer"]?.text
    noPipelineParallel = args["no_pipeline_parallel"]?.isTrue
    fusedAdam = args["ds_fused_adam"]?.isTrue
    // An option for tied models only.
    untieEmbeddingsAndOutputWeights = args["untie_embeddings_and_output_weights"]?.isTrue
  }
}
