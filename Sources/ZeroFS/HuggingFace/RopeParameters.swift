import Bytes

/// What rotary embeddings are computed from (transformers `modeling_rope_utils.py`: `RopeParameters`).
package struct RopeParameters: Sendable, Equatable, Encodable {
  /// `default`, `linear`, `dynamic`, `yarn`, `longrope`, `llama3`, or what the file says.
  package var type = "default"
  package var theta = 10_000.0
  /// Of sliding-attention layers, where they have parameters of their own.
  package var localTheta: Double?
  /// The rotated part of each head.
  package var partialRotaryFactor = 1.0
  package var factor: Double?
  /// Tokens.
  package var originalMaxPositionEmbeddings: Int?
  package var attentionFactor: Double?
  package var betaFast: Double?
  package var betaSlow: Double?
  package var mscale: Double?
  package var mscaleAllDim: Double?
  package var truncate: Bool?
  package var shortFactor: [Double]?
  package var longFactor: [Double]?
  package var lowFreqFactor: Double?
  package var highFreqFactor: Double?

  package init() {}
}

extension RopeParameters {
  /// Members that a type can't do without (`_validate_…_rope_parameters`); `factor` of yarn may be null.
  private static let required = [
    "linear": ["factor"], "dynamic": ["factor"], "yarn": ["factor"],
    "llama3": ["factor", "low_freq_factor", "high_freq_factor"], "longrope": ["short_factor", "long_factor"],
  ]

  /// - Parameter members: standardized: `rope_type` and `rope_theta` are there.
  init(_ members: JSON.Members, _ file: ConfigurationFile) throws(SourceError) {
    guard let type = members["rope_type"]?.string else {
      throw file.malformed("rope_type is \(members["rope_type"]?.excerpt ?? "missing")")
    }
    for name in RopeParameters.required[type] ?? [] where members[name] == nil {
      throw file.malformed("rope_type \(JSON.excerpt(type)) without \(name)")
    }
    self.type = type
    guard let theta = try file.ropeNumber("rope_theta", in: members) else {
      throw file.malformed("rope_theta is null")
    }
    self.theta = theta
    if let value = members["partial_rotary_factor"] {
      guard let factor = try file.number(value, "partial_rotary_factor") else {
        throw file.malformed("partial_rotary_factor is null")
      }
      partialRotaryFactor = factor
    }
    try readScaling(members, file)
  }

  /// The members of single types.
  private mutating func readScaling(_ members: JSON.Members, _ file: ConfigurationFile) throws(SourceError) {
    func number(_ name: String) throws(SourceError) -> Double? { try file.ropeNumber(name, in: members) }
    func numbers(_ name: String) throws(SourceError) -> [Double]? { try file.ropeNumbers(name, in: members) }
    factor = try number("factor")
    if let original = members["original_max_position_embeddings"], !original.isNull {
      guard let original = original.int, original > 0 else {
        throw file.malformed("original_max_position_embeddings is \(original.excerpt)")
      }
      originalMaxPositionEmbeddings = original
    }
    attentionFactor = try number("attention_factor")
    betaFast = try number("beta_fast")
    betaSlow = try number("beta_slow")
    mscale = try number("mscale")
    mscaleAllDim = try number("mscale_all_dim")
    truncate = members["truncate"]?.bool
    shortFactor = try numbers("short_factor")
    longFactor = try numbers("long_factor")
    lowFreqFactor = try number("low_freq_factor")
    highFreqFactor = try number("high_freq_factor")
  }
}

extension ConfigurationFile {
  fileprivate func ropeNumber(_ name: String, in members: JSON.Members) throws(SourceError) -> Double? {
    try members[name].flatMap { value throws(SourceError) in try number(value, "the rope's \(name)") }
  }

  fileprivate func ropeNumbers(_ name: String, in members: JSON.Members) throws(SourceError) -> [Double]? {
    guard let value = members[name], !value.isNull else { return nil }
    let elements = value.elements?.compactMap(\.number)
    guard let elements, elements.count == value.elements?.count else {
      throw malformed("the rope's \(name) is no list of numbers")
    }
    return elements
  }
}

/// Brings the forms that files have, of transformers 4 and 5, into the one that transformers 5 computes with.
struct RopeReader {
  let file: ConfigurationFile
  /// The file's members, or those of its section.
  let members: JSON.Members
  let rule: ConfigurationKeys.Rope
  /// Layer types that may have parameters of their own; empty where the class has no `layer_types`.
  let layerTypes: Set<String>
  let maxPositionEmbeddings: Int
  let headDim: Int
  private(set) var warnings: [String] = []

  init(
    _ file: ConfigurationFile, _ members: JSON.Members, _ rule: ConfigurationKeys.Rope,
    layerTypes: Set<String>,
    maxPositionEmbeddings: Int, headDim: Int
  ) {
    (self.file, self.members, self.rule, self.layerTypes) = (file, members, rule, layerTypes)
    (self.maxPositionEmbeddings, self.headDim) = (maxPositionEmbeddings, headDim)
  }

  /// - Returns: `nil` for a family without rotary embeddings.
  mutating func parameters() throws(SourceError) -> RopeParameters? {
    switch rule {
    case .none: return nil
    case .standard(let theta, let partialFactor):
      return try standard(
        ("rope_theta", theta), partial: ("partial_rotary_factor", partialFactor),
        original: members["original_max_position_embeddings"])
    case .phi3:
      var rope = try standard(
        ("rope_theta", 10_000), partial: ("partial_rotary_factor", 1),
        original: members["original_max_position_embeddings"] ?? .int(4096))
      guard ["default", "su", "yarn", "longrope"].contains(rope.type) else {
        throw file.malformed(
          "rope_type is \"\(JSON.excerpt(rope.type))\", and Phi3Config knows longrope only")
      }
      if ["su", "yarn"].contains(rope.type) {
        rope.type = "longrope"
        rope.originalMaxPositionEmbeddings = members["original_max_position_embeddings"]?.int ?? 4096
      }
      return rope
    case .neox:
      return try standard(
        ("rotary_emb_base", 10_000), partial: ("rotary_pct", 0.25),
        original: members["original_max_position_embeddings"])
    case .rotaryDim(let dimension):
      var rope = RopeParameters()
      let value = members["rotary_dim"] ?? .int(dimension)
      guard let dimension = value.int, dimension > 0, dimension <= headDim else {
        throw file.malformed("rotary_dim is \(value.excerpt), of \(headDim) elements in a head")
      }
      rope.partialRotaryFactor = Double(dimension) / Double(headDim)
      return rope
    case .perLayerType(let theta, let localTheta, let localKey):
      return try perLayerType(theta: theta, localTheta: localTheta, localKey: localKey)
    }
  }

  /// An object of the file; empty where there is none.
  private func object(_ name: String, in members: JSON.Members) throws(SourceError) -> JSON.Members {
    guard let value = members[name], !value.isNull else { return JSON.Members() }
    guard let object = value.members else { throw file.malformed("\(name) is \(value.excerpt)") }
    return object
  }

  private mutating func standard(
    _ theta: (name: String, otherwise: Double), partial: (name: String, otherwise: Double?), original: JSON?
  ) throws(SourceError) -> RopeParameters {
    let (scaling, own) = (
      try object("rope_scaling", in: members), try object("rope_parameters", in: members)
    )
    if !scaling.all.isEmpty && !own.all.isEmpty && scaling != own {
      warnings.append(
        "rope_scaling and rope_parameters differ: rope_scaling is served, as transformers takes it.")
    }
    var rope = scaling.all.isEmpty ? own : scaling
    let nested = rope.all.map(\.name).filter(layerTypes.contains)
    guard !nested.isEmpty else {
      complete(&rope, theta, partial)
      return try scaled(rope, original: original, overrides: original != nil)
    }
    var types: [String: RopeParameters] = [:]
    for name in nested where rope[name]?.isNull == false {
      var part = try object(name, in: rope)
      complete(&part, theta, partial)
      types[name] = try scaled(part, original: nil, overrides: false)
    }
    guard var full = types["full_attention"] ?? types.values.first else {
      throw file.malformed("rope_parameters are null for every layer type")
    }
    full.localTheta = types["sliding_attention"]?.theta
    return full
  }

  /// What is missing inside is taken from outside, or is the class's default.
  private mutating func complete(
    _ rope: inout JSON.Members, _ theta: (name: String, otherwise: Double),
    _ partial: (name: String, otherwise: Double?)
  ) {
    setDefault(
      "rope_theta", of: &rope, members[theta.name], named: theta.name, otherwise: .double(theta.otherwise))
    // A null outside is no factor, and keeps the class's from counting.
    let factor = members[partial.name] ?? partial.otherwise.map { .double($0) }
    if let factor, !factor.isNull {
      setDefault("partial_rotary_factor", of: &rope, factor, named: partial.name, otherwise: factor)
    }
  }

  private mutating func setDefault(
    _ name: String, of rope: inout JSON.Members, _ outside: JSON?, named outer: String, otherwise: JSON
  ) {
    guard let inside = rope[name] else {
      rope.set(name, outside ?? otherwise)
      return
    }
    if let outside = members[outer], !outside.isNull, outside.number != inside.number {
      warnings.append(
        "\(outer) is \(outside.excerpt), and inside the rope's parameters \(inside.excerpt): that one is served, as "
          + "transformers takes it.")
    }
  }

  /// - Parameter original: the file's own `original_max_position_embeddings`, outside of the parameters.
  private mutating func scaled(_ rope: JSON.Members, original: JSON?, overrides: Bool) throws(SourceError)
    -> RopeParameters
  {
    var rope = rope
    if let type = rope["rope_type"], let old = rope["type"], type != old {
      warnings.append("rope_type is \(type.excerpt), and type \(old.excerpt): rope_type is served.")
    }
    if rope["rope_type"] == nil { rope.set("rope_type", rope["type"] ?? .string("default")) }
    if ["llama3", "yarn", "longrope"].contains(rope["rope_type"]?.string) {
      let name = "original_max_position_embeddings"
      if let inside = rope[name], let original, overrides, inside != original {
        warnings.append(
          "\(name) is \(original.excerpt), and inside the rope's parameters \(inside.excerpt): \(original.excerpt) is "
            + "served, as transformers takes it.")
      }
      if let original, overrides {
        rope.set(name, original)
      } else if rope[name] == nil {
        rope.set(name, .int(maxPositionEmbeddings))
      }
    }
    return try RopeParameters(rope, file)
  }

  /// `Gemma3TextConfig`, `Olmo3Config`: `convert_rope_params_to_dict`.
  private mutating func perLayerType(theta: Double, localTheta: Double, localKey: String) throws(SourceError)
    -> RopeParameters
  {
    let own = try object("rope_parameters", in: members)
    func parameters(_ type: String) throws(SourceError) -> JSON.Members {
      var parameters = try object(type, in: own)
      if own[type]?.isNull != false { parameters.set("rope_type", .string("default")) }
      return parameters
    }
    var (full, sliding) = (try parameters("full_attention"), try parameters("sliding_attention"))
    // An old `type` has no effect beside the `rope_type` that the class starts from.
    for member in try object("rope_scaling", in: members).all { full.set(member.name, member.value) }
    setDefault(
      "rope_theta", of: &full, members["rope_theta"], named: "rope_theta", otherwise: .double(theta))
    // Olmo3Config looks for the same name twice, and has taken it away by then.
    let outside = localKey == "rope_theta" ? nil : members[localKey]
    setDefault("rope_theta", of: &sliding, outside, named: localKey, otherwise: .double(localTheta))
    var rope = try scaled(full, original: nil, overrides: false)
    let local = try scaled(sliding, original: nil, overrides: false)
    guard local.type == "default" else {
      throw file.malformed(
        "rope_type of sliding_attention is \"\(JSON.excerpt(local.type))\", which zerofs doesn't know")
    }
    rope.localTheta = local.theta
    return rope
  }
}
