import Bytes
import HuggingFace
import Run

/// An argument of MDS whose value the model or the layout decides.
package struct ArgumentFact: Sendable {
  /// The attribute of the Namespace.
  let name: String
  /// What the user writes: `--hidden-size 64`; empty where the argument must be left out.
  let flag: String
  let value: ArgumentValue
  /// What goes wrong with another value.
  let otherwise: String
  /// Other arguments that come to the same.
  private let alternative: [String: ArgumentValue]

  init(
    _ name: String, _ flag: String, _ value: ArgumentValue, otherwise: String,
    alternative: [String: ArgumentValue] = [:]
  ) {
    (self.name, self.flag, self.value, self.otherwise) = (name, flag, value, otherwise)
    self.alternative = alternative
  }

  /// A flag with a number behind it.
  private init(_ name: String, _ flag: String, number: Int, otherwise: String) {
    self.init(name, "\(flag) \(number)", .int(number), otherwise: otherwise)
  }

  /// A switch: `flag` turns it to `on`.
  private init(_ name: String, _ flag: String, _ value: Bool, on: Bool = true, otherwise: String) {
    self.init(name, value == on ? flag : "no \(flag)", .bool(value), otherwise: otherwise)
  }

  /// Whether the run comes to the same by other arguments.
  func isMetOtherwise(_ arguments: MegatronArguments) -> Bool {
    !alternative.isEmpty && alternative.allSatisfy { arguments[$0.key] ?? .none == $0.value }
  }

  /// What the run has instead; `nil` where it comes to this value.
  func otherValue(_ arguments: MegatronArguments) -> String? {
    if isMetOtherwise(arguments) { return nil }
    let given = arguments[name] ?? .none
    // MDS's norms compute in fp32 (`megatron/model/rmsnorm.py`).
    return given.equals(value, inFloat32: name == "layernorm_epsilon") ? nil : given.pythonDescription
  }

  /// - Throws: `RunError.contradiction` where the run has another value.
  func check(_ arguments: MegatronArguments) throws(RunError) {
    guard let other = otherValue(arguments) else { return }
    throw RunError.contradiction(argument: name, has: other, needs: flag, otherwise: otherwise)
  }

  /// Those of a model in its layout.
  static func all(_ geometry: MegatronGeometry) -> [ArgumentFact] {
    ofModel(geometry) + layout(geometry)
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
      .init("num_layers", "--num-layers", number: c.layers, otherwise: "layers are missing or left over"),
      .init("hidden_size", "--hidden-size", number: c.hiddenSize, otherwise: shapes),
      .init("ffn_hidden_size", "--ffn-hidden-size", number: c.intermediateSize, otherwise: shapes),
      .init(
        "num_attention_heads", "--num-attention-heads", number: c.heads, otherwise: "heads are cut wrongly"),
      .init("num_key_value_heads", "--num-key-value-heads", number: c.keyValueHeads, otherwise: shapes),
      .init("kv_channels", "--kv-channels", number: c.headDim, otherwise: shapes),
      .init("num_experts", "no --num-experts", .list([.int(1)]), otherwise: experts),
      .init("num_experts_switch", "no --num-experts-switch", .none, otherwise: experts),
      .init(
        "untie_embeddings_and_output_weights", "--untie-embeddings-and-output-weights", !model.isTied,
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
        otherwise: norm == .rmsNorm
          ? "LayerNorms expect biases, which the checkpoint lacks"
          : "the norms' biases, which the checkpoint has, are left out"),
      .init(
        "layernorm_epsilon", "--layernorm-epsilon \(architecture.epsilon)", .float(architecture.epsilon),
        otherwise: "every norm is a little off, and the loss with it"),
      .init("apply_layernorm_1p", "--apply-layernorm-1p", false, otherwise: "norm weights count from 1"),
      .init(
        "apply_residual_connection_post_layernorm", "--apply-residual-connection-post-layernorm", false,
        otherwise: "residuals are taken elsewhere than in training"),
      .init(
        "add_bias_linear", "--disable-bias-linear", table.hasLinearBias, on: false,
        otherwise: table.hasLinearBias
          ? "linear layers have no biases, and the checkpoint's are left out"
          : "linear layers expect biases, which the checkpoint lacks"),
    ]
  }

  /// MDS `megatron/model/transformer.py`: `ParallelMLP.__init__`, in its order.
  private static func activation(_ activation: Architecture.Activation) -> [ArgumentFact] {
    let other = "the MLP computes another activation than the model was trained with"
    func isOn(_ name: String, _ flag: String, _ on: Architecture.Activation) -> ArgumentFact {
      .init(
        name, flag, activation == on, otherwise: on == .swiGLU || activation == .swiGLU ? shapes : other)
    }
    var facts = [
      isOn("swiglu", "--swiglu", .swiGLU), isOn("squared_relu", "--squared-relu", .squaredReLU),
    ]
    switch activation {
    case .geluTanh:
      // The fused kernel has the same approximation.
      facts.append(
        .init(
          "openai_gelu", "--openai-gelu", .bool(true), otherwise: other,
          alternative: ["openai_gelu": .bool(false), "onnx_safe": .none, "bias_gelu_fusion": .bool(true)]))
    case .gelu:
      facts.append(isOn("openai_gelu", "--openai-gelu", .geluTanh))
      facts.append(
        .init("bias_gelu_fusion", "--no-bias-gelu-fusion", false, on: false, otherwise: other))
    case .swiGLU, .squaredReLU: facts.append(isOn("openai_gelu", "--openai-gelu", .geluTanh))
    }
    return facts
  }

  private static func positions(_ table: ParameterTable) -> [ArgumentFact] {
    guard case .rotary(let theta, let percent) = table.architecture.positions else {
      return [
        .init(
          "use_rotary_position_embeddings", "--use-rotary-position-embeddings", false,
          otherwise: "the model's learned positions, which the checkpoint has, are left out"),
        .init(
          "max_position_embeddings", "--max-position-embeddings",
          number: table.configuration.maxPositionEmbeddings, otherwise: shapes),
      ]
    }
    return [
      .init(
        "use_rotary_position_embeddings", "--use-rotary-position-embeddings", true,
        otherwise: "the model has learned positions, which the checkpoint lacks"),
      .init(
        "rope_theta", "--rotary-position-embeddings-theta", number: theta,
        otherwise: rotation),
      .init("rotary_percent", "--rotary-percent \(percent)", .float(percent), otherwise: rotation),
    ]
  }

  private static func layout(_ model: MegatronGeometry) -> [ArgumentFact] {
    let layout = model.layout
    let names = "the engine looks for optimizer files of other names"
    return [
      .init(
        "make_vocab_size_divisible_by", "--make-vocab-size-divisible-by", number: model.vocabulary.divisor,
        otherwise: "the embeddings' shapes don't match"),
      .init(
        "tensor_model_parallel_size", "--tensor-model-parallel-size", number: layout.tp, otherwise: shapes),
      .init(
        "pipeline_model_parallel_size", "--pipeline-model-parallel-size", number: layout.pp,
        otherwise: "stages look for other layers' files"),
      .init(
        "ds_sequence_parallel_size", "--ds-sequence-parallel-size", number: layout.sp,
        otherwise: "the optimizer's state is cut into another number of parts"),
      .init(
        "zero_stage", "--zero-stage", number: layout.zeroStage, otherwise: "the optimizer's files don't fit"),
      .init(
        "no_pipeline_parallel", "--no-pipeline-parallel", layout.engine == .noPipeline,
        otherwise: "the engine looks for files of other names"),
      .init("bf16", "--bf16", layout.dtype == .bfloat16, otherwise: names),
      .init("fp16", "--fp16", layout.dtype == .float16, otherwise: names),
    ]
  }
}
