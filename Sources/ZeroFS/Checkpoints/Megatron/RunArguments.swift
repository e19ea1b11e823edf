import Bytes
import Glibc
import HuggingFace
import Run

/// The arguments of the run that a checkpoint is for: what the model and the layout say, and what the user's command line
/// adds. What MDS would save as `args`, and where its learning rate schedule and optimizer settings come from.
package struct RunArguments: Sendable {
  /// Before MDS's derived attributes, which depend on the rank.
  private let arguments: MegatronArguments
  /// Whether the user gave a command line. Without one the learning rate is unknown, and a full load needs
  /// `--override-opt_param-scheduler`.
  package let isGiven: Bool
  /// What the command line has and MDS doesn't know.
  let unknown: [String]
  /// How the command line was read, where the user should know.
  let notes: [String]
  /// The state of `OptimizerParamScheduler` at step 0, with zeros where the run isn't known.
  let schedule: LearningRateSchedule?
  let device: AcceleratorKind
  let seed: Int

  /// - Parameters:
  ///   - given: the user's command line.
  ///   - options: attributes that zerofs's own options set.
  /// - Throws: `RunError` for a flag that contradicts the model; `MegatronArgumentError` where MDS itself would refuse;
  ///   `RandomStateError` for a seed out of range.
  package init(
    _ given: MegatronArguments?, model: MegatronModel, options: [String: ArgumentValue] = [:],
    device: AcceleratorKind = .cuda
  ) throws {
    isGiven = given != nil
    unknown = given?.unknown ?? []
    notes = given?.notes ?? []
    self.device = device
    var arguments = given ?? MegatronArguments()
    let facts = RunArguments.facts(model)
    if given != nil {
      let completed = try arguments.completed(for: RunArguments.run(model, tp: 0, pp: 0, dp: 0, iteration: 0))
      for fact in facts { try fact.check(completed) }
      try RunArguments.checkVocabulary(arguments, model)
    }
    for fact in facts { arguments.set(fact.name, fact.value) }
    arguments.set("deepspeed", .bool(true))
    for (name, value) in options { arguments.set(name, value) }
    self.seed = arguments.int("seed") ?? 1234
    if given == nil {
      arguments.set("max_position_embeddings", .int(model.configuration.maxPositionEmbeddings))
      // The first step decays with the checkpoint's value, later ones with the run's. MDS's default is 0.01; both of
      // ALCF's entry points (finetune_llama.sh, helpers.sh) say 0.1.
      arguments.set("weight_decay", .float(0.1))
    }
    self.arguments = arguments
    schedule =
      try given == nil
      ? nil
      : LearningRateSchedule(
        arguments.completed(for: RunArguments.run(model, tp: 0, pp: 0, dp: 0, iteration: 0)))
    for pp in 0..<model.layout.pp {
      _ = try randomState(model, tp: 0, pp: pp, dp: model.layout.zeroRanks - 1, trackerDraws: 0)
    }
  }

  /// What the Namespace of a rank holds.
  func completed(_ model: MegatronModel, tp: Int, pp: Int, dp: Int, iteration: Int) -> MegatronArguments {
    // `init` completed the same arguments, and nothing that can fail depends on the rank.
    (try? arguments.completed(for: RunArguments.run(model, tp: tp, pp: pp, dp: dp, iteration: iteration)))
      ?? arguments
  }

  func randomState(_ model: MegatronModel, tp: Int, pp: Int, dp: Int, trackerDraws: Int)
    throws(RandomStateError) -> RandomState
  {
    try RandomState.megatron(
      seed: seed, pp: pp, tp: tp, dp: dp,
      dataParallelRandomInit: arguments.isTrue("data_parallel_random_init"),
      device: device, trackerDraws: arguments.isTrue("perform_initialization") ? trackerDraws : 0)
  }

  subscript(name: String) -> ArgumentValue? { arguments[name] }
  func double(_ name: String) -> Double? { arguments.double(name) }
  func isTrue(_ name: String) -> Bool { arguments.isTrue(name) }

  private static func run(_ model: MegatronModel, tp: Int, pp: Int, dp: Int, iteration: Int) -> MegatronRun {
    let rank = model.layout.globalRank(tp: tp, pp: pp, dp: dp)
    return MegatronRun(
      rank: rank, worldSize: model.layout.worldSize, localRank: rank,
      paddedVocabSize: model.vocabulary.padded,
      iteration: iteration)
  }
}

/// An argument whose value the model or the layout decides.
private struct Fact {
  /// The attribute of the Namespace.
  let name: String
  /// What the user writes: `--hidden-size 64`.
  let flag: String
  let value: ArgumentValue
  /// What goes wrong with another value.
  let otherwise: String

  func check(_ arguments: MegatronArguments) throws(RunError) {
    let given = arguments[name] ?? .none
    // MDS's norms compute in fp32 (megatron/model/rmsnorm.py).
    if given.equals(value, inFloat32: name == "layernorm_epsilon") { return }
    throw RunError.contradiction(
      argument: name, has: given.pythonDescription, needs: flag, otherwise: otherwise)
  }
}

extension RunArguments {
  fileprivate static func facts(_ model: MegatronModel) -> [Fact] {
    let (c, layout) = (model.configuration, model.layout)
    let shapes = "parameters have other shapes and the checkpoint doesn't load"
    func int(_ name: String, _ flag: String, _ value: Int, _ otherwise: String) -> Fact {
      Fact(name: name, flag: "\(flag) \(value)", value: .int(value), otherwise: otherwise)
    }
    func flag(_ name: String, _ value: Bool, _ on: String, _ off: String, _ otherwise: String) -> Fact {
      Fact(name: name, flag: value ? on : off, value: .bool(value), otherwise: otherwise)
    }
    return [
      int("num_layers", "--num-layers", c.layers, "layers are missing or left over"),
      int("hidden_size", "--hidden-size", c.hiddenSize, shapes),
      int("ffn_hidden_size", "--ffn-hidden-size", c.intermediateSize, shapes),
      int("num_attention_heads", "--num-attention-heads", c.heads, "heads are cut wrongly"),
      int("num_key_value_heads", "--num-key-value-heads", c.keyValueHeads, shapes),
      int("kv_channels", "--kv-channels", c.headDim, shapes),
      flag(
        "use_rotary_position_embeddings", true, "--use-rotary-position-embeddings", "",
        "the model has learned positions, which the checkpoint lacks"),
      int(
        "rope_theta", "--rotary-position-embeddings-theta", Int(c.ropeTheta),
        "positions are rotated otherwise than in training, and the loss is ruined without an error"),
      Fact(
        name: "rotary_percent", flag: "--rotary-percent 1.0", value: .float(1),
        otherwise: "positions are rotated otherwise than in training, and the loss is ruined without an error"
      ),
      Fact(
        name: "normalization", flag: "--normalization rmsnorm", value: .string("rmsnorm"),
        otherwise: "LayerNorms expect biases, which the checkpoint lacks"),
      Fact(
        name: "layernorm_epsilon", flag: "--layernorm-epsilon \(c.rmsNormEps)", value: .float(c.rmsNormEps),
        otherwise: "every norm is a little off, and the loss with it"),
      flag("apply_layernorm_1p", false, "", "no --apply-layernorm-1p", "norm weights count from 1"),
      flag(
        "apply_residual_connection_post_layernorm", false, "",
        "no --apply-residual-connection-post-layernorm",
        "residuals are taken elsewhere than in training"),
      Fact(
        name: "num_experts", flag: "no --num-experts", value: .list([.int(1)]),
        otherwise: "experts, which the checkpoint lacks, stay random"),
      Fact(
        name: "num_experts_switch", flag: "no --num-experts-switch", value: .none,
        otherwise: "experts, which the checkpoint lacks, stay random"),
      flag("swiglu", true, "--swiglu", "", shapes),
      flag(
        "add_bias_linear", false, "", "--disable-bias-linear",
        "linear layers expect biases, which the checkpoint lacks"),
      flag(
        "untie_embeddings_and_output_weights", !model.isTied, "--untie-embeddings-and-output-weights",
        "no --untie-embeddings-and-output-weights",
        model.isTied
          ? "the output layer, which the checkpoint lacks, stays random"
          : "the output layer is replaced by the embedding"),
      int(
        "make_vocab_size_divisible_by", "--make-vocab-size-divisible-by", model.vocabulary.divisor,
        "the embeddings' shapes don't match"),
      int("tensor_model_parallel_size", "--tensor-model-parallel-size", layout.tp, shapes),
      int(
        "pipeline_model_parallel_size", "--pipeline-model-parallel-size", layout.pp,
        "stages look for other layers' files"),
      int(
        "ds_sequence_parallel_size", "--ds-sequence-parallel-size", layout.sp,
        "the optimizer's state is cut into another number of parts"),
      int("zero_stage", "--zero-stage", layout.zeroStage, "the optimizer's files don't fit"),
      flag(
        "no_pipeline_parallel", layout.engine == .noPipeline, "--no-pipeline-parallel",
        "no --no-pipeline-parallel",
        "the engine looks for files of other names"),
      flag(
        "bf16", layout.dtype == .bfloat16, "--bf16", "no --bf16",
        "the engine looks for optimizer files of other names"),
      flag(
        "fp16", layout.dtype == .float16, "--fp16", "no --fp16",
        "the engine looks for optimizer files of other names"),
    ]
  }

  /// The vocabulary comes from the tokenizer; only NullTokenizer's is on the command line (MDS
  /// `megatron/tokenizer/tokenizer.py`: `_NullTokenizer` adds one).
  fileprivate static func checkVocabulary(_ arguments: MegatronArguments, _ model: MegatronModel)
    throws(RunError)
  {
    guard arguments.string("tokenizer_type") == "NullTokenizer", let size = arguments.int("vocab_size"),
      size < 1 << 40
    else { return }
    let padded = PaddedVocabulary(
      size: size + 1, divisor: model.vocabulary.divisor, tp: model.layout.tp, filling: .zero
    ).padded
    guard padded == model.vocabulary.padded else {
      throw .vocabulary(has: padded, needs: model.vocabulary.padded)
    }
  }
}
