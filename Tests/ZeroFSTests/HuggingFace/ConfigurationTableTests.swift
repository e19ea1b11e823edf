import Testing

@testable import Bytes
@testable import Checkpoints
@testable import HuggingFace

/// What transformers itself said of some forms of `config.json` (Tests/conformance/configuration_forms.py made the table).
@Suite struct ConfigurationTableTests {
  private static let rows: [JSON] = {
    let tests = #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
    let contents = try? SourceFile.contents(of: "/\(tests)/fixtures/configurations.json")
    return contents.flatMap { try? JSON($0) }?.elements ?? []
  }()

  @Test func thereAreRows() { #expect(Self.rows.count > 200) }

  @Test func isReadAsTransformersReadsIt() throws {
    for row in Self.rows {
      let text = try #require(row["config"]?.string)
      let file = try ConfigurationFile(contents: Array(text.utf8), path: "config.json")
      let keys = try #require(ModelFamily.keys(of: file.modelType))
      guard let read = try? ModelConfiguration(file, keys: keys) else {
        // What no model can be made of.
        let heads = try #require(row["transformers"]?["heads"]?.int)
        let groups = try #require(row["transformers"]?["keyValueHeads"]?.int)
        let theta = row["transformers"]?["rope"]?["theta"]
        #expect(groups == 0 || heads % groups != 0 || theta?.isNull == true, "\(text)")
        continue
      }
      try compare(read, try #require(row["transformers"]), text)
    }
  }

  private func compare(_ read: ModelConfiguration, _ said: JSON, _ text: String) throws {
    #expect(
      [
        read.hiddenSize, read.intermediateSize, read.layers, read.heads, read.keyValueHeads, read.headDim,
        read.vocabSize, read.maxPositionEmbeddings,
      ]
        == [
          "hiddenSize", "intermediateSize", "layers", "heads", "keyValueHeads", "headDim", "vocabSize",
          "maxPositionEmbeddings",
        ].map { said[$0]?.int }, "\(text)")
    let epsilon = try #require(said["normEps"]?.number)
    #expect(read.normEps == epsilon || read.normEps.isNaN && epsilon.isNaN, "\(text)")
    #expect(read.hiddenAct == said["hiddenAct"]?.string, "\(text)")
    #expect(
      [read.tieWordEmbeddings, read.attentionBias, read.mlpBias]
        == ["tieWordEmbeddings", "attentionBias", "mlpBias"].map { said[$0]?.bool }, "\(text)")
    #expect(read.slidingWindow == said["slidingWindow"]?.int, "\(text)")
    #expect(read.attention.map(\.rawValue) == said["attention"]?.elements?.compactMap(\.string), "\(text)")
    let rope = said["rope"]
    #expect(read.rope?.type == rope?["type"]?.string, "\(text)")
    #expect(
      [
        read.rope?.theta, read.rope?.partialRotaryFactor, read.rope?.factor, read.rope?.localTheta,
        read.rope?.attentionFactor, read.rope?.lowFreqFactor, read.rope?.highFreqFactor,
        read.rope?.originalMaxPositionEmbeddings.map(Double.init),
      ]
        == [
          "theta", "partialRotaryFactor", "factor", "localTheta", "attentionFactor", "lowFreqFactor",
          "highFreqFactor", "originalMaxPositionEmbeddings",
        ].map { rope?[$0]?.number }, "\(text)")
    #expect(read.rope?.shortFactor == rope?["shortFactor"]?.elements?.compactMap(\.number), "\(text)")
  }
}
