import Bytes
import Glibc
import HuggingFace

extension Architecture {
  /// What follows from the configuration of any family.
  ///
  /// - Throws: what MDS lacks.
  init(_ family: ModelFamily, _ c: ModelConfiguration, isTied: Bool) throws(ModelFamily.Refusal) {
    if let quantization = c.quantization {
      throw .init(
        "quantization_config (\(quantization))",
        "quantized weights can't be trained on. Dequantize the model first.")
    }
    self.isTied = isTied
    normalization = family.normalization
    epsilon = c.normEps
    (activation, spec.activation) = try Activation.named(c.hiddenAct, isGated: family.isGated)
    positions = .learned
    spec.hasOneKeyValueHead = c.keyValueHeads == 1 && c.heads > 1
    if let window = c.slidingWindow, c.attention.contains(.sliding) {
      beyondLimits.window = .init(size: window, layers: c.attention.contains(.full) ? c.slidingLayers : nil)
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
    try scale(rope, family, c)
    let isScaled = spec.rope != nil || beyondLimits.rope != nil
    if let local = rope.localTheta, local != rope.theta || isScaled, c.attention.contains(.sliding) {
      spec.ropeLocal = .init(theta: local, layers: c.slidingLayers)
    }
  }

  /// Rope scaling (transformers `modeling_rope_utils.py`), where MDS has none.
  private mutating func scale(_ rope: RopeParameters, _ family: ModelFamily, _ c: ModelConfiguration)
    throws(ModelFamily.Refusal)
  {
    // Where sliding attention has a theta of its own, the other one is the command line's.
    let members = rope.members(
      hasTheta: rope.localTheta == nil, hasPartialFactor: family.rotatesPartially,
      maxPositionEmbeddings: c.maxPositionEmbeddings)
    switch rope.type {
    case "default": return
    case "linear" where rope.factor == 1: return
    case "dynamic":
      beyondLimits.rope = members
      sequenceLimits.append(
        SequenceLimit(tokens: c.maxPositionEmbeddings, feature: "rope_scaling \"dynamic\""))
    case "longrope" where rope.shortFactor?.allSatisfy { $0 == 1 } == true:
      let original = rope.originalMaxPositionEmbeddings ?? c.maxPositionEmbeddings
      beyondLimits.rope = members
      sequenceLimits.append(SequenceLimit(tokens: original, feature: "rope_scaling \"longrope\""))
      attentionFactor = rope.longRopeAttentionFactor(c.maxPositionEmbeddings, original)
    case "linear", "llama3", "yarn", "longrope": spec.rope = members
    default: throw .lacks("rope_type \"\(JSON.excerpt(rope.type))\"", "such rotation, nor has the extension")
    }
  }

  /// Decides whether the extension is needed, when everything is known that it would have to compute.
  ///
  /// - Parameter sequenceLength: the run's, in tokens; `nil` where that isn't known.
  mutating func settle(_ c: ModelConfiguration, sequenceLength: Int?) {
    // What no sequence reaches is no limit.
    let longest = max(c.maxPositionEmbeddings, sequenceLength ?? 0)
    sequenceLimits.removeAll { $0.tokens >= longest }
    if let window = beyondLimits.window, window.size >= longest { beyondLimits.window = nil }
    let isBeyond = sequenceLength.map { length in sequenceLimits.contains { length > $0.tokens } }
    if spec.isNeeded || isBeyond == true {
      extensionNeed = .always
    } else if isBeyond == nil && !sequenceLimits.isEmpty {
      extensionNeed = .beyondLimits
    }
    if extensionNeed != .never {
      spec.rope = spec.rope ?? beyondLimits.rope
      spec.window = spec.window ?? beyondLimits.window
    }
    if extensionNeed != .beyondLimits { sequenceLimits = [] }
    if extensionNeed != .always, attentionFactor != 1, case .rotary(_, let percent) = positions {
      var rows = rotary ?? RotaryRows(headDim: c.headDim, rotated: Int(Double(c.headDim) * percent))
      rows.scale = Float(attentionFactor)
      rotary = rows
      spec.rope?.set("attention_factor", .double(1))
    }
  }
}

extension ModelConfiguration {
  var slidingLayers: [Int] { attention.indices.filter { attention[$0] == .sliding } }
  var fullLayers: [Int] { attention.indices.filter { attention[$0] == .full } }

  /// A number that `null` leaves out.
  ///
  /// - Parameter missing: what the class has where the file lacks it.
  func optionalNumber(_ name: String, missing: Double? = nil) -> Double? {
    guard let value = self[name] else { return missing }
    return value.number
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
  /// What flags say, and what the extension puts in its place where they can't say it.
  ///
  /// - Parameter name: of transformers `activations.py`: `ACT2CLS`.
  static func named(_ name: String, isGated: Bool) throws(ModelFamily.Refusal) -> (
    Self, ExtensionSpec.Activation?
  ) {
    let activation: ExtensionSpec.Activation
    switch name {
    case "silu", "swish": activation = .silu
    case "gelu": activation = .gelu
    case "gelu_new", "gelu_fast", "gelu_pytorch_tanh", "gelu_accurate": activation = .geluTanh
    case "relu": activation = .relu
    case "relu2": activation = .relu2
    default: throw .lacks("hidden_act \"\(JSON.excerpt(name))\"", "such activation, nor has the extension")
    }
    if isGated { return (.swiGLU, activation == .silu ? nil : activation) }
    switch activation {
    case .gelu: return (.gelu, nil)
    case .geluTanh: return (.geluTanh, nil)
    case .relu2: return (.squaredReLU, nil)
    case .silu, .relu: return (.gelu, activation)
    }
  }
}
