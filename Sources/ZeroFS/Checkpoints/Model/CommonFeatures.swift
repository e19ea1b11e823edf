import HuggingFace

/// Features that several families may have and MDS hasn't.
extension ModelConfiguration {
  func requireSiLU() throws(ModelFamily.Refusal) {
    guard hiddenAct == "silu" || hiddenAct == "swish" else {
      throw .init("hidden_act \"\(hiddenAct)\"", "MDS's gated MLP has SiLU (--swiglu) only.")
    }
  }

  func requireFullAttention() throws(ModelFamily.Refusal) {
    guard let slidingWindow else { return }
    throw .init(
      "sliding_window \(slidingWindow)",
      "MDS has full attention only, so the model would compute something else beyond \(slidingWindow) tokens. "
        + "If you train on shorter sequences, set sliding_window to null in a copy of config.json "
        + "(where it is missing, MistralConfig has 4096).")
  }

  /// - Throws: what no family can have in MDS.
  func requireWhatMegatronHas() throws(ModelFamily.Refusal) {
    if let quantization {
      throw .init(
        "quantization_config (\(quantization))",
        "quantized weights can't be trained on. Dequantize the model first.")
    }
    if let factor = rope?.partialRotaryFactor, factor != 1 {
      throw .init("partial_rotary_factor \(factor)", "this family rotates whole heads.")
    }
    let rope = rope ?? RopeParameters()
    guard let theta = Int(exactly: rope.theta), theta > 0 else {
      throw .init(
        "rope_theta \(rope.theta)", "MDS's --rotary-position-embeddings-theta is a whole number, from 1 on.")
    }
  }
}
