// Of families that zerofs can't serve yet; those of the others are in Checkpoints/Model/Families. Written from transformers 5.23's configuration classes; Tests/conformance/test_configuration.py holds each against its class.

extension ConfigurationKeys {
  /// The class's of a `model_type`; `nil` for families that zerofs doesn't know.
  package static func of(modelType: String) -> ConfigurationKeys? { families[modelType] }

  private static let families: [String: ConfigurationKeys] = ["gemma3": gemma3]

  /// `Olmo2Config`.
  package static let olmo2 = ConfigurationKeys([.mlpBias: []], vocabSize: 50304, normEps: 1e-05)

  /// `Olmo3Config`.
  package static let olmo3 = ConfigurationKeys(
    [.mlpBias: []], vocabSize: 50304, normEps: 1e-05, slidingWindow: 4096,
    windows: .allBut(every: 4, readsPattern: false), hasLayerTypes: true,
    rope: .perLayerType(theta: 500_000, localTheta: 500_000, localKey: "rope_theta"))

  /// `Glm4Config`.
  package static let glm4 = ConfigurationKeys(
    [.mlpBias: []], intermediateSize: 13696, layers: 40, keyValueHeads: 2, headDim: 128, vocabSize: 151552,
    maxPositionEmbeddings: 131072, normEps: 1.5625e-07, attentionBias: true,
    rope: .standard(partialFactor: 0.5))

  /// `GemmaConfig`.
  package static let gemma = ConfigurationKeys(
    [.mlpBias: []], hiddenSize: 3072, intermediateSize: 24576, layers: 28, heads: 16, keyValueHeads: 16,
    headDim: 256, vocabSize: 256000, maxPositionEmbeddings: 8192, tieWordEmbeddings: true,
    hiddenAct: "gelu_pytorch_tanh", hiddenActAliases: ["gelu": "gelu_pytorch_tanh"])

  /// `Gemma2Config`.
  package static let gemma2 = ConfigurationKeys(
    [.hiddenAct: ["hidden_activation"], .mlpBias: []], hiddenSize: 2304, intermediateSize: 9216, layers: 26,
    heads: 8, keyValueHeads: 4, headDim: 256, vocabSize: 256000, maxPositionEmbeddings: 8192,
    tieWordEmbeddings: true, hiddenAct: "gelu_pytorch_tanh", slidingWindow: 4096,
    windows: .allBut(every: 2, readsPattern: false), hasLayerTypes: true)

  /// `Gemma3TextConfig`.
  package static let gemma3Text = ConfigurationKeys(
    [.hiddenAct: ["hidden_activation"], .mlpBias: []], hiddenSize: 2304, intermediateSize: 9216, layers: 26,
    heads: 8, keyValueHeads: 4, headDim: 256, vocabSize: 262208, maxPositionEmbeddings: 131072,
    tieWordEmbeddings: true, hiddenAct: "gelu_pytorch_tanh", slidingWindow: 4096,
    windows: .allBut(every: 6, readsPattern: true, halvesIfBidirectional: true), hasLayerTypes: true,
    rope: .perLayerType(theta: 1_000_000, localTheta: 10_000, localKey: "rope_local_base_freq"))

  /// `Exaone4Config`.
  package static let exaone4 = ConfigurationKeys(
    [.attentionBias: [], .mlpBias: []], intermediateSize: 16384, keyValueHeads: 32, vocabSize: 102400,
    normEps: 1e-05, slidingWindow: 4096, windows: .allBut(every: 4, readsPattern: true), hasLayerTypes: true)

  /// `SmolLM3Config`.
  package static let smollm3 = ConfigurationKeys(
    hiddenSize: 2048, layers: 36, heads: 16, keyValueHeads: Size(.value(4), null: .heads), vocabSize: 128256,
    maxPositionEmbeddings: 32768, tieWordEmbeddings: true, windows: .withoutRope, hasLayerTypes: true,
    rope: .standard(theta: 2_000_000))

  /// `PhiConfig`.
  package static let phi = ConfigurationKeys(
    [.normEps: ["layer_norm_eps"], .attentionBias: [], .mlpBias: []], hiddenSize: 2048,
    intermediateSize: 8192, layers: 24, vocabSize: 51200, normEps: 1e-05, hiddenAct: "gelu_new",
    rope: .standard(partialFactor: 0.5))

  /// `GPTJConfig`.
  package static let gptj = ConfigurationKeys(
    [
      .hiddenSize: ["n_embd", "hidden_size"], .intermediateSize: ["n_inner"],
      .layers: ["n_layer", "num_hidden_layers"], .heads: ["n_head", "num_attention_heads"],
      .keyValueHeads: [], .headDim: [], .maxPositionEmbeddings: ["n_positions", "max_position_embeddings"],
      .normEps: ["layer_norm_epsilon"], .hiddenAct: ["activation_function"], .attentionBias: [], .mlpBias: [],
    ], intermediateSize: .following(.fourHiddenSizes), layers: 28, heads: 16, vocabSize: 50400,
    normEps: 1e-05, hiddenAct: "gelu_new", rope: .rotaryDim(64))

  /// `FalconConfig`.
  package static let falcon = ConfigurationKeys(
    [
      .hiddenSize: ["hidden_size", "n_embed"], .intermediateSize: ["ffn_hidden_size"],
      .keyValueHeads: ["num_kv_heads"], .normEps: ["layer_norm_epsilon"], .hiddenAct: ["activation"],
      .attentionBias: ["bias"], .mlpBias: ["bias"],
    ], hiddenSize: 4544, intermediateSize: .following(.fourHiddenSizes), heads: 71, vocabSize: 65024,
    normEps: 1e-05, tieWordEmbeddings: true, hiddenAct: "gelu")

  /// `CohereConfig`.
  package static let cohere = ConfigurationKeys(
    [.normEps: ["layer_norm_eps"], .mlpBias: []], hiddenSize: 8192, intermediateSize: 22528, layers: 40,
    heads: 64, vocabSize: 256000, maxPositionEmbeddings: 8192, normEps: 1e-05, tieWordEmbeddings: true,
    rope: .standard(theta: 500_000))

  /// `Cohere2Config`.
  package static let cohere2 = ConfigurationKeys(
    [.normEps: ["layer_norm_eps"], .mlpBias: []], hiddenSize: 8192, intermediateSize: 22528, layers: 40,
    heads: 64, vocabSize: 256000, maxPositionEmbeddings: 8192, normEps: 1e-05, tieWordEmbeddings: true,
    slidingWindow: 4096, windows: .allBut(every: 4, readsPattern: true), hasLayerTypes: true)

  /// `OPTConfig`.
  package static let opt = ConfigurationKeys(
    [
      .intermediateSize: ["ffn_dim"], .keyValueHeads: [], .headDim: [], .normEps: [],
      .hiddenAct: ["activation_function"], .attentionBias: ["enable_bias"], .mlpBias: ["enable_bias"],
    ], hiddenSize: 768, intermediateSize: 3072, layers: 12, heads: 12, vocabSize: 50272, normEps: 1e-05,
    tieWordEmbeddings: true, hiddenAct: "relu", attentionBias: true, mlpBias: true, rope: .none)

  /// `Gemma3Config`: the language model inside.
  package static let gemma3 = {
    var keys = gemma3Text
    keys.section = "text_config"
    return keys
  }()

}
