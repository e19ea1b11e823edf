import HuggingFace

/// A Hugging Face model type that MDS's GPT model can express: which tensors it has, and how one rank's parameters are cut
/// from them.
package enum ModelFamily: String, Sendable, CaseIterable {
  case llama
  case mistral

  init?(modelType: String) { self.init(rawValue: modelType) }

  /// - Throws: `ModelError` for a feature without a counterpart in MDS.
  func check(_ configuration: ModelConfiguration, path: String) throws(ModelError) {
    func refuse(_ feature: String, _ why: String) throws(ModelError) {
      throw .unsupported(feature: feature, why: why, path: path)
    }
    if let method = configuration.quantization {
      try refuse(
        "quantization_config (\(method))",
        "quantized weights can't be trained on. Dequantize the model first.")
    }
    if configuration.hiddenAct != "silu" && configuration.hiddenAct != "swish" {
      try refuse("hidden_act \"\(configuration.hiddenAct)\"", "MDS's gated MLP has SiLU (--swiglu) only.")
    }
    if configuration.attentionBias || configuration.mlpBias {
      try refuse(
        configuration.attentionBias ? "attention_bias" : "mlp_bias", "biases of this family are not served.")
    }
    if let window = configuration.slidingWindow {
      try refuse(
        "sliding_window \(window)",
        "MDS has full attention only, so the model would compute something else beyond \(window) tokens. "
          + "If you train on shorter sequences, set sliding_window to null in a copy of config.json "
          + "(where it is missing, MistralConfig has 4096).")
    }
    if let factor = configuration.rope?.partialRotaryFactor, factor != 1 {
      try refuse("partial_rotary_factor \(factor)", "this family rotates whole heads.")
    }
    let rope = configuration.rope ?? RopeParameters()
    guard let theta = Int(exactly: rope.theta), theta > 0 else {
      return try refuse(
        "rope_theta \(rope.theta)",
        "MDS's --rotary-position-embeddings-theta is a whole number, from 1 on.")
    }
  }
}
