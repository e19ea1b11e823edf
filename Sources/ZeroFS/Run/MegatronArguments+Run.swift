import Bytes

/// What a run knows beside its command line.
package struct MegatronRun: Equatable, Sendable {
  package var rank: Int
  package var worldSize: Int
  /// The rank within its node; MDS sets it to rank % devices per node.
  package var localRank: Int
  /// Rows of the embedding, all tensor-parallel ranks together.
  package var paddedVocabSize: Int
  package var iteration: Int
  /// What the run has trained on before.
  package var consumedTrainSamples = 0
  package var consumedValidSamples = 0
  package var consumedTrainTokens = 0

  package init(rank: Int, worldSize: Int, localRank: Int, paddedVocabSize: Int, iteration: Int = 0) {
    self.rank = rank
    self.worldSize = worldSize
    self.localRank = localRank
    self.paddedVocabSize = paddedVocabSize
    self.iteration = iteration
  }
}

extension MegatronArguments {
  /// Attributes that MDS computes; in logs they are read over.
  static let derived: Set<String> = [
    "ds_pipeline_enabled", "rank", "world_size", "transformer_pipeline_model_parallel_size",
    "data_parallel_size",
    "virtual_pipeline_model_parallel_size", "params_dtype", "consumed_train_samples",
    "consumed_valid_samples",
    "consumed_train_tokens", "variable_seq_lengths", "curriculum_learning_legacy", "compression_training",
    "use_flash_attn",
  ]

  /// The Namespace that MDS saves: the arguments after parse_args, validate_args (megatron/arguments.py),
  /// initialisation (megatron/initialize.py), building the model (pretrain_gpt.py: model_provider;
  /// megatron/training.py: get_model) and the scheduler (get_optimizer_param_scheduler), in the order in
  /// which these add attributes. Where an argument that a rule needs is not given, its result stays None.
  package func completed(for run: MegatronRun) throws(MegatronArgumentError) -> MegatronArguments {
    var args = self
    args.set("ds_pipeline_enabled", .bool(!isTrue("no_pipeline_parallel")))
    args.set("rank", .int(run.rank))
    args.set("world_size", .int(run.worldSize))
    args.set("local_rank", .int(run.localRank))
    try args.completeParallelism(run)
    try args.completeBatchAndTypes(run)
    try args.completeModel()
    try args.completeSchedule()
    args.set("padded_vocab_size", .int(run.paddedVocabSize))
    if isTrue("deepspeed") {
      args.set("deepspeed_config", .none)
      args.set("deepspeed_config_dict", .object)
    }
    args.set("model_type", .object)
    if !isTrue("no_pipeline_parallel") {
      args.set("attn_mask", .object)
      if isTrue("use_rotary_position_embeddings") { args.set("rotary_pos_emb", .object) }
    }
    args.set("allow_transformer_engine", .bool(isTrue("no_pipeline_parallel")))
    args.set("iteration", .int(run.iteration))
    return args
  }

  private mutating func completeParallelism(_ run: MegatronRun) throws(MegatronArgumentError) {
    let tp = min(int("tensor_model_parallel_size") ?? 1, run.worldSize)
    let pp = min(int("pipeline_model_parallel_size") ?? 1, run.worldSize / max(tp, 1))
    let transformerPP = isTrue("standalone_embedding_stage") ? pp - 1 : pp
    set("tensor_model_parallel_size", .int(tp))
    set("pipeline_model_parallel_size", .int(pp))
    set("transformer_pipeline_model_parallel_size", .int(transformerPP))
    let modelParallel = try product([tp, pp, int("ds_sequence_parallel_size") ?? 1], "the parallel sizes")
    set("data_parallel_size", .int(run.worldSize / max(modelParallel, 1)))
    for name in ["batch_size", "warmup", "model_parallel_size"] { remove(name) }
    if isTrue("recompute_activations") { set("recompute_granularity", .string("selective")) }
    remove("recompute_activations")
    var virtualPP = ArgumentValue.none
    if let perStage = int("num_layers_per_virtual_pipeline_stage"), perStage > 0,
      let layers = int("num_layers")
    {
      virtualPP = .int(layers / max(transformerPP, 1) / perStage)
    }
    set("virtual_pipeline_model_parallel_size", virtualPP)
    if tp == 1 { set("sequence_parallel", .bool(false)) }
    if isTrue("sequence_parallel") || isTrue("deepspeed") {
      set("async_tensor_model_parallel_allreduce", .bool(false))
    }
  }

  private mutating func completeBatchAndTypes(_ run: MegatronRun) throws(MegatronArgumentError) {
    // pretrain_gpt.py's args_defaults
    setDefault("tokenizer_type", .string("GPT2BPETokenizer"))
    if let micro = int("micro_batch_size"), let dp = int("data_parallel_size") {
      setDefault("global_batch_size", .int(try product([micro, dp], "--micro-batch-size")))
    }
    if isTrue("fp16"), isTrue("bf16") { throw .conflict("only one of --fp16 and --bf16 can be given") }
    set("params_dtype", .dtype(isTrue("fp16") ? .float16 : isTrue("bf16") ? .bfloat16 : .float32))
    if isTrue("bf16") { set("accumulate_allreduce_grads_in_fp32", .bool(true)) }
    if string("DDP_impl") != "local" { set("use_contiguous_buffers_in_local_ddp", .bool(false)) }
    setDefault("dataloader_type", .string("single"))
    set("consumed_train_samples", .int(run.consumedTrainSamples))
    set("consumed_valid_samples", .int(run.consumedValidSamples))
    set("consumed_train_tokens", .int(run.consumedTrainTokens))
    set("variable_seq_lengths", .bool(false))
    if !isTrue("add_bias_linear") { set("bias_gelu_fusion", .bool(false)) }
    set("curriculum_learning_legacy", .bool(false))
    set("compression_training", .bool(false))
    let flash = ["use_flash_attn_v1", "use_flash_attn_triton", "use_flash_attn_v2", "use_flash_attn_builder"]
    set("use_flash_attn", .bool(flash.contains { isTrue($0) }))
  }

  private mutating func completeModel() throws(MegatronArgumentError) {
    if let download = string("aml_data_download_path"), case .list(let paths)? = self["data_path"] {
      set("data_path", .list(paths.map { $0.asString.map { .string("\(download)/\($0)") } ?? $0 }))
    }
    setDefault("encoder_num_layers", self["num_layers"] ?? .none)
    setDefault("num_layers", self["encoder_num_layers"] ?? .none)
    setDefault("encoder_seq_length", self["seq_length"] ?? .none)
    setDefault("seq_length", self["encoder_seq_length"] ?? .none)
    if isTrue("use_rotary_position_embeddings") { set("add_position_embedding", .bool(false)) }
    guard !isTrue("use_dataset_only") else { return }
    if let hidden = int("hidden_size") {
      let ungated = try product([4, hidden], "--hidden-size")
      // A gated MLP has two projections up: 2/3 keeps the parameter count, in multiples of 64.
      let gated = Int(Double(ungated) * 2 / 3 / 64) * 64
      setDefault("ffn_hidden_size", .int(isTrue("swiglu") ? gated : ungated))
      if let heads = int("num_attention_heads"), heads > 0 { setDefault("kv_channels", .int(hidden / heads)) }
    }
    setDefault("num_key_value_heads", self["num_attention_heads"] ?? .none)
    if string("weight_decay_incr_style") == "constant" {
      set("start_weight_decay", self["weight_decay"] ?? .none)
      set("end_weight_decay", self["weight_decay"] ?? .none)
    }
  }

  /// What get_optimizer_param_scheduler and update_train_iters (megatron/training.py) leave in the Namespace.
  private mutating func completeSchedule() throws(MegatronArgumentError) {
    if isTrue("train_iters"), isTrue("train_samples") {
      throw .conflict("only one of --train-iters and --train-samples can be given")
    }
    if isTrue("train_iters") {
      setDefault("lr_decay_iters", self["train_iters"] ?? .none)
    } else if let samples = int("train_samples"), samples > 0 {
      setDefault("lr_decay_samples", .int(samples))
      if let batch = int("global_batch_size"), batch > 0,
        let iterations = iterations(samples: samples, batch: batch)
      {
        set("train_iters", .int(iterations))
      }
    }
  }

  /// Iterations that consume `samples`, through the ramp of `--rampup-batch-size START INCREMENT SAMPLES` if
  /// any (megatron/microbatches.py: RampupBatchsizeNumMicroBatches). nil if the ramp makes no sense.
  private func iterations(samples: Int, batch: Int) -> Int? {
    guard case .list(let ramp)? = self["rampup_batch_size"] else { return samples / batch }
    let numbers = ramp.compactMap { $0.asString.flatMap { ArgumentValue.int(python: $0) } }
    guard numbers.count == 3, numbers[0] > 0, numbers[1] > 0, batch > numbers[0], numbers[2] > 0,
      numbers[1] <= batch - numbers[0], numbers[2] / numbers[0] < 10_000_000
    else { return nil }
    let samplesPerIncrement = Double(numbers[2]) / Double((batch - numbers[0]) / numbers[1])
    var consumed = 0
    var iterations = 0
    while consumed <= numbers[2] {
      consumed += numbers[0] + Int(Double(consumed) / samplesPerIncrement) * numbers[1]
      iterations += 1
    }
    return iterations + (samples - consumed) / batch
  }

  private func product(_ factors: [Int], _ name: String) throws(MegatronArgumentError) -> Int {
    var product = 1
    for factor in factors {
      let (next, overflow) = product.multipliedReportingOverflow(by: factor)
      if overflow { throw .conflict("\(name): too large") }
      product = next
    }
    return product
  }
}
