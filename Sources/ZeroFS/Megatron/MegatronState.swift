/// What MDS itself adds to a checkpoint: its arguments, the learning rate schedule, the generators' states
/// (`megatron/checkpointing.py`: `save_checkpoint`).
struct MegatronState: Sendable {
  let iteration: Int

  /// `OptimizerParamScheduler.state_dict()`.
  var learningRateScheduler: PickleValue {
    .dict([
      "max_lr": .float(0), "lr_warmup_steps": .int(0), "lr_warmup_tokens": .none, "num_steps": .int(0),
      "num_tokens": .int(0), "lr_decay_style": .string("linear"), "lr_decay_steps": .int(0),
      "lr_decay_tokens": .none, "min_lr": .float(0), "start_wd": .float(0.01), "end_wd": .float(0.01),
      "wd_incr_style": .string("constant"), "wd_incr_steps": .int(0),
    ])
  }

  func arguments(_ model: MegatronModel, tp: Int, pp: Int, deepSpeedConfiguration: PickleValue) -> PickleValue {
    let c = model.configuration
    return .object(
      "argparse", "Namespace",
      [
        ("num_layers", .int(c.layers)), ("hidden_size", .int(c.hiddenSize)),
        ("num_attention_heads", .int(c.heads)), ("num_key_value_heads", .int(c.keyValueHeads)),
        ("add_position_embedding", .bool(false)),
        ("tensor_model_parallel_size", .int(model.layout.tp)),
        ("pipeline_model_parallel_size", .int(model.layout.pp)),
        ("padded_vocab_size", .int(model.vocabulary.padded)), ("consumed_train_samples", .int(0)),
        ("consumed_valid_samples", .int(0)), ("data_parallel_random_init", .bool(false)),
      ])
  }

  func randomState(tp: Int, pp: Int) -> PickleValue {
    .list([
      .dict([
        "random_rng_state": .none, "np_rng_state": .none, "torch_rng_state": .none, "cuda_rng_state": .none,
        "rng_tracker_states": .dict(["model-parallel-rng": .none]),
      ])
    ])
  }
}
