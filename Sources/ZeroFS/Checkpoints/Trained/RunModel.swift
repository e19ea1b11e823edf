import Bytes
import HuggingFace
import Run

/// The model that a run of MDS trains, as its arguments say: a family whose modules have Llama's names.
struct RunModel: Sendable {
  let arguments: MegatronArguments
  /// Of the file that has them, for messages.
  let path: String
  /// Of a model that MDS computed with its extension.
  let extensionSpec: JSON?
  /// The description of such a model, which the arguments alone aren't.
  let like: ModelDescription?

  /// Whether Llama's configuration has all of it.
  var isLlama: Bool {
    extensionSpec == nil && !isLayerNorm && arguments.isTrue("swiglu") && !hasLearnedPositions
      && rotaryPercent == 1
      && !arguments.isTrue("apply_layernorm_1p")
  }

  var isTied: Bool { !arguments.isTrue("untie_embeddings_and_output_weights") }
  /// Rows of the embedding, over all tensor-parallel ranks.
  var paddedVocabulary: Int { arguments.int("padded_vocab_size") ?? 0 }

  var hasBiases: Bool { arguments.isTrue("add_bias_linear") }
  var isLayerNorm: Bool { arguments.string("normalization") != "rmsnorm" }
  var hasLearnedPositions: Bool { !arguments.isTrue("use_rotary_position_embeddings") }
  var rotaryPercent: Double { arguments.double("rotary_percent") ?? 1 }
  var epsilon: Double { arguments.double("layernorm_epsilon") ?? 1e-5 }
  var theta: Int { arguments.int("rope_theta") ?? 10_000 }

  var activation: Architecture.Activation {
    if arguments.isTrue("swiglu") { return .swiGLU }
    if arguments.isTrue("squared_relu") { return .squaredReLU }
    return arguments.isTrue("openai_gelu") || arguments.isTrue("bias_gelu_fusion") ? .geluTanh : .gelu
  }

  private var family: ModelFamily {
    let bias: ModelFamily.Bias = hasBiases ? .always : .none
    let norm: ModelFamily.Bias = isLayerNorm ? .always : .none
    let (activation, positions) = (
      activation,
      hasLearnedPositions ? Architecture.Positions.learned : .rotary(theta: theta, percent: rotaryPercent)
    )
    return ModelFamily(
      "llama", models: "of this run", keys: ConfigurationKeys(),
      normalization: isLayerNorm ? .layerNorm : .rmsNorm,
      embeddings: [.init("model.embed_tokens", .wordEmbeddings)]
        + (hasLearnedPositions ? [.init("model.embed_positions", .positionEmbeddings)] : []),
      layer: ModelFamily.decoderLayer(
        attentionBias: bias, outputBias: bias,
        mlp: activation.isGated ? nil : ModelFamily.mlpWithoutGate(bias), mlpBias: bias, normBias: norm),
      head: [.init("model.norm", .finalNorm, bias: norm), .init("lm_head", .outputLayer)],
      refine: { _, architecture in (architecture.activation, architecture.positions) = (activation, positions)
      })
  }

  /// - Parameter vocabularySize: rows that the table says the files have.
  /// - Throws: `TrainedError.unsupported`, `TrainedError.unreadable` for sizes that no model has.
  func table(vocabularySize: Int, flavor: MegatronFlavor) throws(TrainedError) -> ParameterTable {
    if let extensionSpec { return try extendedTable(extensionSpec, vocabularySize: vocabularySize, flavor) }
    if let experts = arguments["num_experts"], experts != .list([.int(1)]) {
      throw .unsupported(path: path, what: "num_experts", why: "experts are not served.")
    }
    do {
      let text = configuration(vocabularySize: vocabularySize, dtype: .float32)
      return try ParameterTable(
        family,
        ModelConfiguration(
          ConfigurationFile(contents: Array(text.utf8), path: path), keys: ConfigurationKeys()),
        isTied: isTied,
        splitsAttentionInThirds: flavor.splitsAttentionInThirds, holds: { _ in false })
    } catch { throw .unreadable(path: path, why: "its args describe no model (\(error))") }
  }

  private func extendedTable(_ spec: JSON, vocabularySize: Int, _ flavor: MegatronFlavor) throws(TrainedError)
    -> ParameterTable
  {
    guard let like else {
      throw .option(
        "--like",
        why:
          "\(path) is of a run with zerofs_megatron, whose model the arguments alone don't tell: give --like a directory with "
          + "its config.json")
    }
    var table: ParameterTable
    do {
      let text = like.text(setting: [
        ("vocab_size", .int(vocabularySize)), ("tie_word_embeddings", .bool(isTied)),
      ])
      table = try ParameterTable(
        of: ConfigurationFile(contents: Array(text.utf8), path: like.configuration.path), flavor: flavor)
    } catch { throw .unreadable(path: like.configuration.path, why: "\(error)") }
    table.isTied = isTied
    let own = table.architecture.spec.guardText
    guard let own = try? JSON(Array(own.utf8)), own.isSame(as: spec) else {
      throw .conflict(
        like: like.configuration.path, argument: MegatronExtensionFiles.package, has: spec.excerpt,
        needs: JSON.excerpt(own))
    }
    return table
  }
}

extension JSON {
  /// Whether it says the same, in whatever order and whatever kind of number.
  fileprivate func isSame(as other: JSON) -> Bool {
    switch (self, other) {
    case (.object(let own), .object(let others)):
      own.all.count == others.all.count
        && own.all.allSatisfy { member in others[member.name].map { member.value.isSame(as: $0) } ?? false }
    case (.array(let own), .array(let others)):
      own.count == others.count && zip(own, others).allSatisfy { $0.isSame(as: $1) }
    default: self == other || number != nil && number == other.number
    }
  }
}
