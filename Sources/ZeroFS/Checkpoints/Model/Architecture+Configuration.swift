import Bytes
import Glibc
import HuggingFace

extension Architecture {
  /// What follows from the configuration of any family.
  ///
  /// - Throws: what MDS lacks.
  init(_ family: ModelFamily, _ c: ModelConfiguration) throws(ModelFamily.Refusal) {
    if let quantization = c.quantization {
      throw .init(
        "quantization_config (\(quantization))",
        "quantized weights can't be trained on. Dequantize the model first.")
    }
    normalization = family.normalization
    epsilon = c.normEps
    activation = try Activation(c.hiddenAct, isGated: family.isGated)
    positions = .learned
    if let window = c.slidingWindow, c.attention.contains(.sliding) {
      sequenceLimits.append(SequenceLimit(tokens: window, feature: "sliding_window \(window)"))
    }
    if let rope = c.rope { try rotate(rope, family, c) }
  }

  private mutating func rotate(_ rope: RopeParameters, _ family: ModelFamily, _ c: ModelConfiguration)
    throws(ModelFamily.Refusal)
  {
    let percent = rope.partialRotaryFactor
    guard percent > 0, percent == 1 || family.rotatesPartially && percent < 1 else {
      throw .init("partial_rotary_factor \(percent)", "this family rotates whole heads.")
    }
    // Of frequencies, so little is less than bf16 shows.
    guard let theta = Int(exactly: rope.theta.rounded()), theta > 0,
      abs(Double(theta) - rope.theta) <= 1e-5 * rope.theta
    else {
      throw .init(
        "rope_theta \(rope.theta)", "MDS's --rotary-position-embeddings-theta is a whole number, from 1 on.")
    }
    if Double(theta) != rope.theta {
      warnings.append(
        "rope_theta \(rope.theta): MDS's --rotary-position-embeddings-theta is a whole number. \(theta) is served, which moves "
          + "logits by about a millionth.")
    }
    let rotated = Int(Double(c.headDim) * percent)
    guard rotated > 0 && rotated.isMultiple(of: 2) else {
      throw .init(
        "\(rotated) rotated elements in a head of \(c.headDim)",
        "halves of them are rotated against each other.")
    }
    positions = .rotary(theta: theta, percent: percent)
    scale(rope, c, rotated: rotated)
  }

  /// Rope scaling (transformers `modeling_rope_utils.py`), where MDS has none.
  private mutating func scale(_ rope: RopeParameters, _ c: ModelConfiguration, rotated: Int) {
    switch rope.type {
    case "default": return
    case "linear" where rope.factor == 1: return
    case "dynamic":
      sequenceLimits.append(
        SequenceLimit(tokens: c.maxPositionEmbeddings, feature: "rope_scaling \"dynamic\""))
    case "longrope" where rope.shortFactor?.allSatisfy { $0 == 1 } == true:
      let original = rope.originalMaxPositionEmbeddings ?? c.maxPositionEmbeddings
      sequenceLimits.append(SequenceLimit(tokens: original, feature: "rope_scaling \"longrope\""))
      let factor = rope.longRopeAttentionFactor(c.maxPositionEmbeddings, original)
      if factor != 1 {
        rotary = RotaryRows(headDim: c.headDim, rotated: rotated, scale: Float(factor))
      }
    default:
      warnings.append(
        "rope_scaling \"\(rope.type)\": MDS has plain rotary embeddings only. The weights are right, but without a patch of its "
          + "RotaryEmbedding the model computes other positions than it was trained with, and the loss is higher. "
          + "--flavor hf trains the model as it is.")
    }
  }
}

/// Members that only one family has.
extension ModelConfiguration {
  func number(_ name: String, _ otherwise: Double) -> Double { self[name]?.number ?? otherwise }
  func flag(_ name: String, _ otherwise: Bool) -> Bool { self[name]?.bool ?? otherwise }
}

extension RopeParameters {
  /// transformers `modeling_rope_utils.py`: `_compute_longrope_parameters`.
  fileprivate func longRopeAttentionFactor(_ maxPositionEmbeddings: Int, _ original: Int) -> Double {
    if let attentionFactor { return attentionFactor }
    let factor = factor ?? Double(maxPositionEmbeddings) / Double(original)
    return factor <= 1 ? 1 : (1 + log(factor) / log(Double(original))).squareRoot()
  }
}

extension Architecture.Activation {
  /// - Parameter name: of transformers `activations.py`: `ACT2CLS`.
  init(_ name: String, isGated: Bool) throws(ModelFamily.Refusal) {
    switch (name, isGated) {
    case ("silu", true), ("swish", true): self = .swiGLU
    case (_, true):
      throw .init(
        "hidden_act \"\(name)\"",
        "MDS's gated MLP has SiLU (--swiglu) only. --flavor hf trains the model as it is.")
    case ("gelu", false): self = .gelu
    case ("gelu_new", false), ("gelu_fast", false), ("gelu_pytorch_tanh", false), ("gelu_accurate", false):
      self = .geluTanh
    case ("relu2", false): self = .squaredReLU
    default:
      throw .init(
        "hidden_act \"\(name)\"",
        "MDS's MLP has GELU and squared ReLU (--squared-relu) where it isn't gated. --flavor hf trains the model as it is."
      )
    }
  }
}
