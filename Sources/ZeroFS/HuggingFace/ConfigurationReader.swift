import Bytes

/// Reads the fields of a `config.json` by the names and defaults of a configuration class.
struct ConfigurationReader {
  /// Sizes are multiplied later on; none of a real model comes near these.
  static let maxSize = 1 << 24
  static let maxLayers = 1 << 16

  let file: ConfigurationFile
  let keys: ConfigurationKeys
  /// The file's members, or those of its section.
  let members: JSON.Members
  /// What other sizes may follow from.
  var known = (hiddenSize: 0, heads: 0)
  private(set) var warnings: [String] = []

  init(_ file: ConfigurationFile, _ keys: ConfigurationKeys) throws(SourceError) {
    (self.file, self.keys) = (file, keys)
    guard let section = keys.section else {
      members = file.members
      return
    }
    guard let members = file[section]?.members else { throw file.malformed("no object \(section)") }
    self.members = members
  }

  /// What the file says of a field, and under which name.
  private mutating func value(_ field: ConfigurationKeys.Field) -> (name: String, value: JSON)? {
    let found = keys.names(of: field).compactMap { name in members[name].map { (name, $0) } }
    if let last = found.last, let other = found.first(where: { $0.1 != last.1 }) {
      warnings.append(
        "config.json says \(other.0) \(other.1.excerpt) and \(last.0) \(last.1.excerpt): \(last.0) is served, as transformers "
          + "takes it.")
    }
    return found.last
  }

  mutating func size(
    _ field: ConfigurationKeys.Field, _ otherwise: ConfigurationKeys.Size, below limit: Int = maxSize
  )
    throws(SourceError) -> Int
  {
    guard let (name, value) = value(field) else { return try size(otherwise.missing, field) }
    if value.isNull, let null = otherwise.null { return try size(null, field) }
    guard let size = value.int, size > 0, size < limit else {
      throw file.malformed("\(name) is \(value.excerpt)")
    }
    return size
  }

  private func size(_ rule: ConfigurationKeys.Size.Rule, _ field: ConfigurationKeys.Field) throws(SourceError)
    -> Int
  {
    switch rule {
    case .value(let value): return value
    case .heads: return known.heads
    case .fourHiddenSizes: return 4 * known.hiddenSize
    case .oneIfMultiQuery: return try switched("multi_query", true) ? 1 : known.heads
    case .hiddenSizePerHead:
      guard known.hiddenSize.isMultiple(of: known.heads) else {
        throw file.malformed(
          "hidden_size \(known.hiddenSize) is no multiple of num_attention_heads \(known.heads), and there is no "
            + field.rawValue)
      }
      return known.hiddenSize / known.heads
    }
  }

  mutating func number(_ field: ConfigurationKeys.Field, _ otherwise: Double) throws(SourceError) -> Double {
    guard let (name, value) = value(field) else { return otherwise }
    guard let number = try file.number(value, name) else { throw file.malformed("\(name) is null") }
    return number
  }

  mutating func text(_ field: ConfigurationKeys.Field, _ otherwise: String) throws(SourceError) -> String {
    guard let (name, value) = value(field) else { return otherwise }
    guard let text = value.string else { throw file.malformed("\(name) is \(value.excerpt)") }
    return text
  }

  mutating func flag(_ field: ConfigurationKeys.Field, _ otherwise: Bool) throws(SourceError) -> Bool {
    guard let (name, value) = value(field) else { return otherwise }
    guard let flag = value.bool else { throw file.malformed("\(name) is \(value.excerpt)") }
    return flag
  }

  /// Of a model with sections, the whole decides.
  func tying(_ otherwise: Bool) throws(SourceError) -> Bool {
    let name = ConfigurationKeys.Field.tieWordEmbeddings.rawValue
    guard let value = file[name] else { return otherwise }
    if value.isNull && keys.section != nil { return false }
    guard let flag = value.bool else { throw file.malformed("\(name) is \(value.excerpt)") }
    return flag
  }

  private func switched(_ name: String, _ otherwise: Bool) throws(SourceError) -> Bool {
    guard let value = members[name] else { return otherwise }
    guard let flag = value.bool else { throw file.malformed("\(name) is \(value.excerpt)") }
    return flag
  }

  private func count(_ name: String, _ otherwise: Int) throws(SourceError) -> Int {
    guard let value = members[name] else { return otherwise }
    guard let count = value.int, count >= 0 else { throw file.malformed("\(name) is \(value.excerpt)") }
    return count
  }
}

// Windows

extension ConfigurationReader {
  private typealias Attention = ModelConfiguration.Attention

  mutating func windows(layers: Int) throws(SourceError) -> (
    slidingWindow: Int?, attention: [ModelConfiguration.Attention]
  ) {
    var window = keys.slidingWindow
    if let (name, value) = value(.slidingWindow) {
      guard value.isNull || value.int.map({ $0 >= 0 }) == true else {
        throw file.malformed("\(name) is \(value.excerpt)")
      }
      window = value.int
    }
    let full = [Attention](repeating: .full, count: layers)
    let sliding = [Attention](repeating: .sliding, count: layers)
    var attention = full
    let listed = keys.hasLayerTypes ? try layerTypes(layers: layers) : nil
    switch keys.windows {
    case .none: window = nil
    case .everyLayer: attention = window == nil ? full : sliding
    case .switched:
      if try !switched("use_sliding_window", false) { window = nil }
      let first = try count("max_window_layers", 28)
      if window != nil { attention = (0..<layers).map { $0 >= first ? .sliding : .full } }
    case .allBut(var every, let readsPattern, let halvesIfBidirectional):
      // Exaone 4 spells its pattern LLLG beside the list.
      if readsPattern && listed == nil { every = try count("sliding_window_pattern", every) }
      if halvesIfBidirectional, try switched("use_bidirectional_attention", orNull: false) {
        window = window.map { $0 / 2 + 1 }
      }
      if every > 0 { attention = (1...layers).map { $0.isMultiple(of: every) ? .full : .sliding } }
    case .withoutRope:
      if try switched("use_sliding_window", false), window != nil {
        attention = try rotates(layers: layers).map { $0 ? .full : .sliding }
      }
    case .attentionTypes: attention = try attentionTypes(layers: layers)
    }
    return (window, listed ?? attention)
  }

  private func switched(_ name: String, orNull otherwise: Bool) throws(SourceError) -> Bool {
    members[name]?.isNull == true ? otherwise : try switched(name, otherwise)
  }

  /// `layer_types` (transformers `configuration_utils.py`: `remap_legacy_layer_types`, `validate_layer_type`).
  private func layerTypes(layers: Int) throws(SourceError) -> [Attention]? {
    guard let value = members["layer_types"], !value.isNull else { return nil }
    guard let elements = value.elements, elements.count == layers else {
      throw file.malformed("layer_types is \(value.excerpt), and there are \(layers) layers")
    }
    return try elements.map { element throws(SourceError) in
      let name = element.string == "attention" ? "full_attention" : element.string
      guard let attention = name.flatMap(Attention.init(rawValue:)) else {
        throw file.malformed("layer_types has \(element.excerpt)")
      }
      return attention
    }
  }

  /// Layers without rotary embeddings.
  func layersWithoutRope(layers: Int) throws(SourceError) -> [Int] {
    guard case .withoutRope = keys.windows else { return [] }
    let rotates = try rotates(layers: layers)
    return rotates.indices.filter { !rotates[$0] }
  }

  /// Whether each layer has rotary embeddings (`SmolLM3Config`: `no_rope_layers`, which says 1 where a layer has them).
  private func rotates(layers: Int) throws(SourceError) -> [Bool] {
    guard let value = members["no_rope_layers"], !value.isNull else {
      let interval = try count("no_rope_layer_interval", 4)
      guard interval > 0 else { throw file.malformed("no_rope_layer_interval is 0") }
      return (1...layers).map { !$0.isMultiple(of: interval) }
    }
    let listed = value.elements?.compactMap(\.int) ?? []
    guard listed.count >= layers else { throw file.malformed("no_rope_layers is \(value.excerpt)") }
    return listed.prefix(layers).map { $0 != 0 }
  }

  /// `attention_types` (`GPTNeoConfig.expand_attention_types_params`): lists of kinds, each with how often they repeat.
  private func attentionTypes(layers: Int) throws(SourceError) -> [Attention] {
    let value = members["attention_types"].flatMap { $0.isNull ? nil : $0 }
    let groups = value?.elements ?? [.array([.array([.string("global"), .string("local")]), .int(12)])]
    var attention: [Attention] = []
    for group in groups {
      guard let parts = group.elements, parts.count >= 2, let kinds = parts[0].elements,
        let repeats = parts[1].int
      else { throw file.malformed("attention_types has \(group.excerpt)") }
      for _ in 0..<min(max(repeats, 0), layers) {
        attention += kinds.prefix(layers + 1).map { $0.string == "local" ? .sliding : .full }
        if attention.count > layers { break }
      }
    }
    guard attention.count == layers else {
      throw file.malformed("attention_types describes another number of layers than \(layers)")
    }
    return attention
  }
}
