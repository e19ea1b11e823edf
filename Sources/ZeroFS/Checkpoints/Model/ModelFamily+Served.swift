import HuggingFace

extension ModelFamily {
  /// All families whose modules are known, in the order in which they are listed.
  package static let all: [ModelFamily] = [
    .llama, .mistral, .ministral, .qwen2, .seedOSS, .phi3, .granite, .miniCPM, .internLM2, .baichuan, .helium,
    .ernie45, .glm, .arcee, .jais2, .nemotron, .stableLM, .olmo, .gpt2, .gptBigCode, .gptNeo, .gptNeoX,
    .starCoder2, .qwen3, .gemma, .gemma2, .gemma3, .olmo2, .olmo3, .exaone4, .glm4, .smollm3, .phi, .gptj,
    .falcon, .cohere, .cohere2, .opt,
  ]

  /// The family of a model that MDS may compute.
  ///
  /// - Throws: `ModelError.unsupported` for a family that MDS lacks something for, `ModelError.unknownModelType` for one that
  ///   zerofs doesn't know.
  init(servedBy file: ConfigurationFile) throws(ModelError) {
    if let family = ModelFamily(modelType: file.modelType) {
      self = family
      return
    }
    guard let missing = MissingFeature.all.first(where: { $0.modelTypes.contains(file.modelType) }) else {
      throw .unknownModelType(file.modelType, path: file.path)
    }
    throw .unsupported(
      feature: "\(file.modelType)'s \(missing.feature)",
      why: missing.why + " \(ParameterOrder.wayOut)", path: file.path)
  }
}

/// What MDS lacks for whole families. zerofs knows nothing else of them.
struct MissingFeature: Sendable {
  let feature: String
  let why: String
  let modelTypes: [String]

  private init(_ feature: String, _ why: String, _ modelTypes: String...) {
    (self.feature, self.why, self.modelTypes) = (feature, why, modelTypes)
  }

  static let all: [MissingFeature] = [
    MissingFeature(
      "experts", "DeepSpeed 0.19.8 can't save the MoE models of MDS, so that there is no such checkpoint.",
      "mixtral", "granitemoe", "phimoe", "dbrx", "jetmoe", "minimax", "hunyuan_v1_moe"),
    MissingFeature(
      "experts",
      "MDS's gates are normalized over the chosen experts and its shared expert has no gate; and DeepSpeed 0.19.8 can't save "
        + "the MoE models of MDS.", "qwen2_moe", "qwen3_moe", "olmoe", "granitemoeshared", "flex_olmo",
      "dots1",
      "ernie4_5_moe", "glm4_moe", "lfm2_moe"),
    MissingFeature(
      "multi-head latent attention", "MDS has no attention over compressed keys and values.", "deepseek_v2",
      "deepseek_v3", "kimi_k2", "longcat_flash", "minicpm3"),
    MissingFeature(
      "attention sinks", "MDS has no sinks, and no experts with biases.", "gpt_oss"),
    MissingFeature(
      "vision tower", "MDS's GPT model has text only. A directory of its language model alone is served.",
      "gemma3"),
    MissingFeature(
      "per-layer embeddings", "neither MDS nor the extension has them.", "gemma3n", "gemma3n_text"),
    MissingFeature(
      "recurrent layers", "MDS's GPT model has attention in every layer.", "recurrent_gemma"),
    MissingFeature(
      "norm over queries and keys", "neither MDS nor the extension has it as this family computes it.",
      "apertus",
      "persimmon", "hunyuan_v1_dense", "qwen3_next", "chameleon", "lfm2"),
    MissingFeature(
      "fused attention weight", "zerofs doesn't know the order of its rows.", "codegen", "RefinedWeb",
      "RefinedWebModel"),
    MissingFeature(
      "experts and layers without rotary embeddings",
      "DeepSpeed 0.19.8 can't save the MoE models of MDS, so that there is no such checkpoint.", "llama4",
      "llama4_text"),
    MissingFeature(
      "ALiBi", "MDS's GPT model has no bias of attention by distance.", "bloom", "mpt", "jais"),
    MissingFeature(
      "state-space layers", "MDS's GPT model has attention in every layer.", "mamba", "mamba2",
      "falcon_mamba",
      "jamba", "bamba", "zamba", "zamba2", "nemotron_h", "granitemoehybrid", "falcon_h1", "rwkv"),
    MissingFeature(
      "encoder", "MDS's GPT model is a decoder.", "t5", "mt5", "umt5", "bart", "mbart", "bert", "roberta",
      "xlm-roberta", "deberta-v2", "modernbert", "whisper"),
  ]
}
