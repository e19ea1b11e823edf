import Bytes
import HuggingFace
import Run

/// The table: each argument of MDS's GPT model that isn't the user's to choose, and those whose defaults cost loss.
extension ArgumentFact {
  /// Those of a model in its layout.
  ///
  /// - Parameter sequenceLength: the run's, where it is known.
  package static func all(_ model: MegatronModel, sequenceLength: Int? = nil) -> [ArgumentFact] {
    ofModel(model.geometry) + computation + sequences(model.table, sequenceLength)
      + layout(model)
  }

  /// Those that every layout of the model has.
  static func ofModel(_ geometry: MegatronGeometry) -> [ArgumentFact] {
    sizes(geometry) + architecture(geometry.table)
  }

  private static let shapes = "parameters have other shapes and the checkpoint doesn't load"
  private static let rotation =
    "positions are rotated otherwise than in training, and the loss is ruined without an error"
  private static let experts = "experts, which the checkpoint lacks, stay random"

  private static func sizes(_ model: MegatronGeometry) -> [ArgumentFact] {
    let c = model.configuration
    return [
      .init(
        "num_layers", "--num-layers", number: c.layers, .stops, otherwise: "layers are missing or left over"),
      .init("hidden_size", "--hidden-size", number: c.hiddenSize, .stops, otherwise: shapes),
      .init("ffn_hidden_size", "--ffn-hidden-size", number: c.intermediateSize, .stops, otherwise: shapes),
      .init(
        "num_attention_heads", "--num-attention-heads", number: c.heads, .loss,
        otherwise: "heads are cut wrongly"),
      .init(
        "num_key_value_heads", "--num-key-value-heads", number: c.keyValueHeads, .stops, otherwise: shapes),
      .init("kv_channels", "--kv-channels", number: c.headDim, .stops, otherwise: shapes),
      .init("num_experts", "no --num-experts", .list([.int(1)]), .loss, otherwise: experts),
      .init("num_experts_switch", "no --num-experts-switch", .none, .loss, otherwise: experts),
      .init(
        "untie_embeddings_and_output_weights", "--untie-embeddings-and-output-weights", !model.isTied,
        .loss,
        otherwise: model.isTied
          ? "the output layer, which the checkpoint lacks, stays random"
          : "the output layer is replaced by the embedding"),
    ]
  }

  private static func architecture(_ table: ParameterTable) -> [ArgumentFact] {
    let architecture = table.architecture
    let norm = architecture.normalization
    return positions(table) + activation(architecture.activation) + [
      .init(
        "normalization", "--normalization \(norm.rawValue)", .string(norm.rawValue),
        .stops,
        otherwise: norm == .rmsNorm
          ? "LayerNorms expect biases, which the checkpoint lacks"
          : "the norms' biases, which the checkpoint has, are left out"),
      .init(
        "layernorm_epsilon", "--layernorm-epsilon \(architecture.epsilon)", .float(architecture.epsilon),
        .loss, otherwise: "every norm is a little off, and the loss with it"),
      .init(
        "apply_layernorm_1p", "--apply-layernorm-1p", false, .loss, otherwise: "norm weights count from 1"),
      .init(
        "apply_residual_connection_post_layernorm", "--apply-residual-connection-post-layernorm", false,
        .loss, otherwise: "residuals are taken elsewhere than in training"),
      .init(
        "add_bias_linear", "--disable-bias-linear", table.hasLinearBias, on: false,
        .stops,
        otherwise: table.hasLinearBias
          ? "linear layers have no biases, and the checkpoint's are left out"
          : "linear layers expect biases, which the checkpoint lacks"),
    ]
  }

  /// MDS `megatron/model/transformer.py`: `ParallelMLP.__init__`, in its order.
  private static func activation(_ activation: Architecture.Activation) -> [ArgumentFact] {
    let other = "the MLP computes another activation than the model was trained with"
    func isOn(_ name: String, _ flag: String, _ on: Architecture.Activation) -> ArgumentFact {
      let changesShapes = on == .swiGLU || activation == .swiGLU
      return .init(
        name, flag, activation == on, changesShapes ? .stops : .loss,
        otherwise: changesShapes ? shapes : other)
    }
    var facts = [
      isOn("swiglu", "--swiglu", .swiGLU), isOn("squared_relu", "--squared-relu", .squaredReLU),
    ]
    switch activation {
    case .geluTanh:
      // The fused kernel has the same approximation.
      facts.append(
        .init(
          "openai_gelu", "--openai-gelu", .bool(true), .loss, otherwise: other,
          alternative: ["openai_gelu": .bool(false), "onnx_safe": .none, "bias_gelu_fusion": .bool(true)]))
    case .gelu:
      facts.append(isOn("openai_gelu", "--openai-gelu", .geluTanh))
      facts.append(
        .init("bias_gelu_fusion", "--no-bias-gelu-fusion", false, on: false, .loss, otherwise: other))
    case .swiGLU, .squaredReLU: facts.append(isOn("openai_gelu", "--openai-gelu", .geluTanh))
    }
    return facts
  }

  private static func positions(_ table: ParameterTable) -> [ArgumentFact] {
    guard case .rotary(let theta, let percent) = table.architecture.positions else {
      return [
        .init(
          "use_rotary_position_embeddings", "--use-rotary-position-embeddings", false,
          .stops, otherwise: "the model's learned positions, which the checkpoint has, are left out"),
        .init(
          "max_position_embeddings", "--max-position-embeddings",
          number: table.configuration.maxPositionEmbeddings, .stops, otherwise: shapes),
      ]
    }
    return [
      .init(
        "use_rotary_position_embeddings", "--use-rotary-position-embeddings", true,
        .stops, otherwise: "the model has learned positions, which the checkpoint lacks"),
      .init(
        "rope_theta", "--rotary-position-embeddings-theta", number: theta,
        .loss, otherwise: rotation),
      .init("rotary_percent", "--rotary-percent \(percent)", .float(percent), .loss, otherwise: rotation),
    ]
  }

  /// What MDS's defaults add to any model that was trained elsewhere.
  private static let computation: [ArgumentFact] = [
    .init(
      "hidden_dropout", "--hidden-dropout 0", .float(0), .choice,
      otherwise: "a tenth of every layer's output is dropped, and the first losses are far higher"),
    .init(
      "attention_dropout", "--attention-dropout 0", .float(0), .choice,
      otherwise: "a tenth of the attention is dropped, and the first losses are higher"),
    .init(
      "apply_query_key_layer_scaling", "--no-query-key-layer-scaling", false, on: false, .choice,
      otherwise: "scores are divided by the layer's number before the softmax and rounded otherwise"),
    .init(
      "fp32_residual_connection", "--fp32-residual-connection", false, .stops,
      otherwise: "layers get inputs of another dtype than their weights have"),
  ]

  /// How long sequences may be (MDS `megatron/arguments.py`: `validate_args`).
  private static func sequences(_ table: ParameterTable, _ length: Int?) -> [ArgumentFact] {
    let positions = table.configuration.maxPositionEmbeddings
    let limits = table.architecture.sequenceLimits.map { limit in
      ArgumentFact(
        "seq_length", "--seq-length of at most \(limit.tokens)", .int(limit.tokens), .loss, bound: .atMost,
        otherwise:
          "\(limit.feature): longer sequences are computed otherwise than in training (--flavor hf trains the model as it is)"
      )
    }
    let trained = ArgumentFact(
      "seq_length", "--seq-length of at most \(positions)", .int(positions), .choice, bound: .atMost,
      otherwise: "the model hasn't been trained on positions beyond these")
    guard let length else { return limits + [trained] }
    return limits + [
      trained,
      ArgumentFact(
        "max_position_embeddings", "--max-position-embeddings of at least \(length)", .int(length), .stops,
        bound: .atLeast, otherwise: "MDS refuses sequences of --seq-length \(length)"),
    ]
  }

  private static func layout(_ model: MegatronModel) -> [ArgumentFact] {
    let layout = model.layout
    let names = "the engine looks for optimizer files of other names"
    return [
      .init(
        "make_vocab_size_divisible_by", "--make-vocab-size-divisible-by", number: model.vocabulary.divisor,
        .stops, otherwise: "the embeddings' shapes don't match"),
      .init(
        "tensor_model_parallel_size", "--tensor-model-parallel-size", number: layout.tp, .stops,
        otherwise: shapes),
      .init(
        "pipeline_model_parallel_size", "--pipeline-model-parallel-size", number: layout.pp,
        .stops, otherwise: "stages look for other layers' files"),
      .init(
        "ds_sequence_parallel_size", "--ds-sequence-parallel-size", number: layout.sp,
        .stops, otherwise: "the optimizer's state is cut into another number of parts"),
      .init(
        "zero_stage", "--zero-stage", number: layout.zeroStage, .stops,
        otherwise: "the optimizer's files don't fit"),
      .init(
        "no_pipeline_parallel", "--no-pipeline-parallel", layout.engine == .noPipeline,
        .stops, otherwise: "the engine looks for files of other names"),
      .init(
        "deepspeed", "--deepspeed", true, .stops,
        otherwise: "MDS trains without DeepSpeed, and looks for files of other names"),
      .init("bf16", "--bf16", layout.dtype == .bfloat16, .stops, otherwise: names),
      .init("fp16", "--fp16", layout.dtype == .float16, .stops, otherwise: names),
    ]
  }
}
