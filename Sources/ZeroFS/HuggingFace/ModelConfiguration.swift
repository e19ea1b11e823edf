import Bytes

/// `config.json` of a decoder model, as transformers 5 reads it: names and defaults are those of the model's configuration
/// class.
package struct ModelConfiguration: Sendable {
  package let modelType: String
  package let architectures: [String]
  package let hiddenSize: Int
  package let intermediateSize: Int
  package let layers: Int
  package let heads: Int
  package var keyValueHeads: Int
  /// Elements per attention head.
  package let headDim: Int
  package let vocabSize: Int
  /// Tokens.
  package let maxPositionEmbeddings: Int
  /// Of RMSNorm or LayerNorm.
  package let normEps: Double
  /// `nil` for a family without rotary embeddings.
  package let rope: RopeParameters?
  package let tieWordEmbeddings: Bool
  package let hiddenAct: String
  package let attentionBias: Bool
  package let mlpBias: Bool
  /// Tokens that sliding attention reaches back; `nil` where there is none.
  package let slidingWindow: Int?
  /// Of each layer.
  package let attention: [Attention]
  /// Layers that don't rotate (SmolLM3).
  package let layersWithoutRope: [Int]
  /// `quant_method` of a quantized model.
  package let quantization: String?
  /// Contradictions inside the file, each with the value that is served.
  package let warnings: [String]
  private let members: JSON.Members

  package enum Attention: String, Sendable, Codable {
    case full = "full_attention"
    case sliding = "sliding_attention"
  }

  /// A member of the file that only one family has.
  package subscript(name: String) -> JSON? { members[name] }

  /// - Throws: `SourceError.malformedJSON` for values that transformers' class refuses, or that no model has.
  package init(_ file: ConfigurationFile, keys: ConfigurationKeys) throws(SourceError) {
    var reader = try ConfigurationReader(file, keys)
    modelType = file.modelType
    architectures = file.architectures
    members = reader.members
    hiddenSize = try reader.size(.hiddenSize, keys.hiddenSize)
    heads = try reader.size(.heads, keys.heads)
    reader.known = (hiddenSize, heads)
    intermediateSize = try reader.size(.intermediateSize, keys.intermediateSize)
    layers = try reader.size(.layers, keys.layers, below: ConfigurationReader.maxLayers)
    keyValueHeads = try reader.size(.keyValueHeads, keys.keyValueHeads)
    guard heads.isMultiple(of: keyValueHeads) else {
      throw file.malformed(
        "num_attention_heads \(heads) is no multiple of num_key_value_heads \(keyValueHeads)")
    }
    headDim = try reader.size(.headDim, keys.headDim)
    vocabSize = try reader.size(.vocabSize, keys.vocabSize)
    maxPositionEmbeddings = try reader.size(
      .maxPositionEmbeddings, keys.maxPositionEmbeddings, below: 1 << 40)
    normEps = try reader.number(.normEps, keys.normEps)
    tieWordEmbeddings = try reader.tying(keys.tieWordEmbeddings)
    let activation = try reader.text(.hiddenAct, keys.hiddenAct)
    hiddenAct = keys.hiddenActAliases[activation] ?? activation
    attentionBias = try reader.flag(.attentionBias, keys.attentionBias)
    mlpBias = try reader.flag(.mlpBias, keys.mlpBias)
    (slidingWindow, attention) = try reader.windows(layers: layers)
    layersWithoutRope = try reader.layersWithoutRope(layers: layers)
    var rope = RopeReader(
      file, members, keys.rope, layerTypes: keys.hasLayerTypes ? Set(attention.map(\.rawValue)) : [],
      maxPositionEmbeddings: maxPositionEmbeddings, headDim: headDim)
    self.rope = try rope.parameters()
    quantization = file.quantization
    warnings = file.warnings + reader.warnings + rope.warnings
  }
}
