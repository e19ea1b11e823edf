/// What a `ModelConfiguration` says, for programs.
package struct ConfigurationReport: Encodable, Sendable {
  let modelType: String
  let hiddenSize, intermediateSize, layers, heads, keyValueHeads, headDim, vocabSize,
    maxPositionEmbeddings: Int
  let normEps: Double
  let rope: RopeParameters?
  let tieWordEmbeddings: Bool
  let hiddenAct: String
  let attentionBias, mlpBias: Bool
  let slidingWindow: Int?
  let attention: [ModelConfiguration.Attention]
  let dtype: String
  let warnings: [String]

  /// - Parameter dtype: as `torch` calls it; empty where the file doesn't say.
  package init(_ configuration: ModelConfiguration, dtype: String) {
    modelType = configuration.modelType
    hiddenSize = configuration.hiddenSize
    intermediateSize = configuration.intermediateSize
    layers = configuration.layers
    heads = configuration.heads
    keyValueHeads = configuration.keyValueHeads
    headDim = configuration.headDim
    vocabSize = configuration.vocabSize
    maxPositionEmbeddings = configuration.maxPositionEmbeddings
    normEps = configuration.normEps
    rope = configuration.rope
    tieWordEmbeddings = configuration.tieWordEmbeddings
    hiddenAct = configuration.hiddenAct
    attentionBias = configuration.attentionBias
    mlpBias = configuration.mlpBias
    slidingWindow = configuration.slidingWindow
    attention = configuration.attention
    self.dtype = dtype
    warnings = configuration.warnings
  }
}
