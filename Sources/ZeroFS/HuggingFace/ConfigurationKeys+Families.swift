// Written from transformers 5.23's configuration classes; Tests/conformance/test_configuration.py holds each against its class.

extension ConfigurationKeys {
  /// The class's of a `model_type`; `nil` for families that zerofs doesn't know.
  package static func of(modelType: String) -> ConfigurationKeys? { families[modelType] }

  private static let families: [String: ConfigurationKeys] = [
    "arcee": arcee,
    "baichuan": baichuan,
    "cohere": cohere,
    "cohere2": cohere2,
    "ernie4_5": ernie45,
    "exaone4": exaone4,
    "falcon": falcon,
    "gemma": gemma,
    "gemma2": gemma2,
    "gemma3": gemma3,
    "gemma3_text": gemma3Text,
    "glm": glm,
    "glm4": glm4,
    "gpt2": gpt2,
    "gpt_bigcode": gptBigcode,
    "gpt_neo": gptNeo,
    "gpt_neox": gptNeox,
    "gptj": gptj,
    "granite": granite,
    "helium": helium,
    "internlm2": internlm2,
    "llama": llama,
    "minicpm": minicpm,
    "ministral": ministral,
    "mistral": mistral,
    "nemotron": nemotron,
    "olmo": olmo,
    "olmo2": olmo2,
    "olmo3": olmo3,
    "opt": opt,
    "phi": phi,
    "phi3": phi3,
    "qwen2": qwen2,
    "qwen3": qwen3,
    "seed_oss": seedOss,
    "smollm3": smollm3,
    "stablelm": stablelm,
    "starcoder2": starcoder2,
  ]

  /// `LlamaConfig`.
  package static let llama = ConfigurationKeys()

  /// `MistralConfig`.
  package static let mistral = ConfigurationKeys(
    [.attentionBias: [], .mlpBias: []], intermediateSize: 14336, keyValueHeads: 8,
    maxPositionEmbeddings: 131072, slidingWindow: 4096, windows: .everyLayer)

  /// `MinistralConfig`.
  package static let ministral = ConfigurationKeys(
    [.attentionBias: [], .mlpBias: []], intermediateSize: 14336, keyValueHeads: 8,
    maxPositionEmbeddings: 131072, slidingWindow: 4096, windows: .everyLayer, hasLayerTypes: true)

  /// `Qwen2Config`.
  package static let qwen2 = ConfigurationKeys(
    [.attentionBias: [], .mlpBias: []], intermediateSize: 22016,
    keyValueHeads: Size(.value(32), null: .heads), vocabSize: 151936, maxPositionEmbeddings: 32768,
    slidingWindow: 4096, windows: .switched, hasLayerTypes: true)

  /// `Qwen3Config`.
  package static let qwen3 = ConfigurationKeys(
    [.mlpBias: []], intermediateSize: 22016, keyValueHeads: Size(.value(32), null: .heads), headDim: 128,
    vocabSize: 151936, maxPositionEmbeddings: 32768, slidingWindow: 4096, windows: .switched,
    hasLayerTypes: true)

  /// `SeedOssConfig`.
  package static let seedOss = ConfigurationKeys(
    intermediateSize: 27648, layers: 64, heads: 80, keyValueHeads: Size(.value(8), null: .heads),
    headDim: Size(.value(128), null: .hiddenSizePerHead), vocabSize: 155136, maxPositionEmbeddings: 524288,
    attentionBias: true)

  /// `Phi3Config`.
  package static let phi3 = ConfigurationKeys(
    [.attentionBias: [], .mlpBias: []], hiddenSize: 3072, intermediateSize: 8192, vocabSize: 32064,
    maxPositionEmbeddings: 4096, normEps: 1e-05, windows: .everyLayer, rope: .phi3)

  /// `GPT2Config`.
  package static let gpt2 = ConfigurationKeys(
    [
      .hiddenSize: ["n_embd", "hidden_size"], .intermediateSize: ["n_inner"],
      .layers: ["n_layer", "num_hidden_layers"], .heads: ["n_head", "num_attention_heads"],
      .keyValueHeads: [], .headDim: [], .maxPositionEmbeddings: ["n_positions", "max_position_embeddings"],
      .normEps: ["layer_norm_epsilon"], .hiddenAct: ["activation_function"], .attentionBias: [], .mlpBias: [],
    ], hiddenSize: 768, intermediateSize: .following(.fourHiddenSizes), layers: 12, heads: 12,
    vocabSize: 50257, maxPositionEmbeddings: 1024, normEps: 1e-05, tieWordEmbeddings: true,
    hiddenAct: "gelu_new", rope: .none)

  /// `Starcoder2Config`.
  package static let starcoder2 = ConfigurationKeys(
    [.normEps: ["norm_epsilon"], .attentionBias: ["use_bias"], .mlpBias: ["use_bias"]], hiddenSize: 3072,
    intermediateSize: 12288, layers: 30, heads: 24, keyValueHeads: 2, vocabSize: 49152,
    maxPositionEmbeddings: 4096, normEps: 1e-05, tieWordEmbeddings: true, hiddenAct: "gelu_pytorch_tanh",
    attentionBias: true, mlpBias: true, windows: .everyLayer)

  /// `GPTBigCodeConfig`.
  package static let gptBigcode = ConfigurationKeys(
    [
      .hiddenSize: ["n_embd", "hidden_size"], .intermediateSize: ["n_inner"],
      .layers: ["n_layer", "num_hidden_layers"], .heads: ["n_head", "num_attention_heads"],
      .keyValueHeads: [], .headDim: [], .maxPositionEmbeddings: ["n_positions", "max_position_embeddings"],
      .normEps: ["layer_norm_epsilon"], .hiddenAct: ["activation_function"], .attentionBias: [], .mlpBias: [],
    ], hiddenSize: 768, intermediateSize: .following(.fourHiddenSizes), layers: 12, heads: 12,
    keyValueHeads: Size(.oneIfMultiQuery), vocabSize: 50257, maxPositionEmbeddings: 1024, normEps: 1e-05,
    tieWordEmbeddings: true, hiddenAct: "gelu_pytorch_tanh", rope: .none)

  /// `StableLmConfig`.
  package static let stablelm = ConfigurationKeys(
    [.normEps: ["layer_norm_eps"], .attentionBias: ["use_qkv_bias"], .mlpBias: []], hiddenSize: 2560,
    intermediateSize: 6912, keyValueHeads: 32, vocabSize: 50304, maxPositionEmbeddings: 4096, normEps: 1e-05,
    rope: .standard(partialFactor: 0.25))

  /// `OlmoConfig`.
  package static let olmo = ConfigurationKeys([.normEps: [], .mlpBias: []], vocabSize: 50304, normEps: 1e-05)

  /// `Olmo2Config`.
  package static let olmo2 = ConfigurationKeys([.mlpBias: []], vocabSize: 50304, normEps: 1e-05)

  /// `Olmo3Config`.
  package static let olmo3 = ConfigurationKeys(
    [.mlpBias: []], vocabSize: 50304, normEps: 1e-05, slidingWindow: 4096,
    windows: .allBut(every: 4, readsPattern: false), hasLayerTypes: true,
    rope: .perLayerType(theta: 500_000, localTheta: 500_000, localKey: "rope_theta"))

  /// `GPTNeoXConfig`.
  package static let gptNeox = ConfigurationKeys(
    [.keyValueHeads: [], .normEps: ["layer_norm_eps"], .mlpBias: []], hiddenSize: 6144,
    intermediateSize: 24576, layers: 44, heads: 64, vocabSize: 50432, normEps: 1e-05, hiddenAct: "gelu",
    attentionBias: true, rope: .neox)

  /// `NemotronConfig`.
  package static let nemotron = ConfigurationKeys(
    [.normEps: ["norm_eps"]], hiddenSize: 6144, intermediateSize: 24576, heads: 48, vocabSize: 256000,
    maxPositionEmbeddings: 4096, normEps: 1e-05, hiddenAct: "relu2", rope: .standard(partialFactor: 0.5))

  /// `ArceeConfig`.
  package static let arcee = ConfigurationKeys(
    hiddenSize: 2560, intermediateSize: 18432, maxPositionEmbeddings: 4096, normEps: 1e-05, hiddenAct: "relu2"
  )

  /// `GraniteConfig`.
  package static let granite = ConfigurationKeys()

  /// `HeliumConfig`.
  package static let helium = ConfigurationKeys(
    hiddenSize: 2560, intermediateSize: 7040, layers: 24, heads: 20, keyValueHeads: 20, headDim: 128,
    vocabSize: 48000, maxPositionEmbeddings: 4096, normEps: 1e-08, rope: .standard(theta: 100_000))

  /// `Ernie4_5Config`.
  package static let ernie45 = ConfigurationKeys(
    [.attentionBias: ["use_bias"], .mlpBias: ["use_bias"]], hiddenSize: 1024, intermediateSize: 3072,
    layers: 18, heads: 16, keyValueHeads: Size(.value(2), null: .heads),
    headDim: Size(.value(128), null: .hiddenSizePerHead), vocabSize: 103424, maxPositionEmbeddings: 131072,
    normEps: 1e-05, tieWordEmbeddings: true, rope: .standard(theta: 500_000))

  /// `GlmConfig`.
  package static let glm = ConfigurationKeys(
    [.mlpBias: []], intermediateSize: 13696, layers: 40, keyValueHeads: Size(.value(2), null: .heads),
    headDim: Size(.value(128), null: .hiddenSizePerHead), vocabSize: 151552, maxPositionEmbeddings: 131072,
    normEps: 1.5625e-07, attentionBias: true, rope: .standard(partialFactor: 0.5))

  /// `Glm4Config`.
  package static let glm4 = ConfigurationKeys(
    [.mlpBias: []], intermediateSize: 13696, layers: 40, keyValueHeads: 2, headDim: 128, vocabSize: 151552,
    maxPositionEmbeddings: 131072, normEps: 1.5625e-07, attentionBias: true,
    rope: .standard(partialFactor: 0.5))

  /// `GPTNeoConfig`.
  package static let gptNeo = ConfigurationKeys(
    [
      .layers: ["num_layers", "num_hidden_layers"], .heads: ["num_heads", "num_attention_heads"],
      .keyValueHeads: [], .headDim: [], .normEps: ["layer_norm_epsilon"], .hiddenAct: ["activation_function"],
      .attentionBias: [], .mlpBias: [], .slidingWindow: ["window_size"],
    ], hiddenSize: 2048, intermediateSize: .following(.fourHiddenSizes), layers: 24, heads: 16,
    vocabSize: 50257, normEps: 1e-05, tieWordEmbeddings: true, hiddenAct: "gelu_new", slidingWindow: 256,
    windows: .attentionTypes, rope: .none)

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

  /// `InternLM2Config`, of the directory's own code.
  package static let internlm2 = ConfigurationKeys(
    [.attentionBias: ["bias"], .mlpBias: []], vocabSize: 103168, attentionBias: true)

  /// `BaiChuanConfig` of the 7B, of the directory's own code.
  package static let baichuan = ConfigurationKeys(
    [.keyValueHeads: [], .headDim: [], .attentionBias: [], .mlpBias: []], vocabSize: 64000,
    maxPositionEmbeddings: 4096)

  /// `MiniCPMConfig`, of the directory's own code.
  package static let minicpm = ConfigurationKeys([.headDim: [], .mlpBias: []], tieWordEmbeddings: true)
}
