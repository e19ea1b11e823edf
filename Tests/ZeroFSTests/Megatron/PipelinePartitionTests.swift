import Testing

@testable import Checkpoints

@Suite struct PipelinePartitionTests {
  @Test func unevenSplitGivesTheFirstStagesMore() {
    let partition = PipelinePartition(layers: 5, stages: 2)
    #expect(partition.layers(of: 0) == 0..<3)
    #expect(partition.layers(of: 1) == 3..<5)
  }

  @Test(arguments: [(1, 1), (4, 3), (30, 7), (80, 6), (126, 16)])
  func stagesCoverAllLayers(layers: Int, stages: Int) {
    let partition = PipelinePartition(layers: layers, stages: stages)
    #expect((0..<stages).flatMap { partition.layers(of: $0) } == Array(0..<layers))
  }

  @Test func tiedEmbeddingIsFirstOnBothEnds() {
    let partition = PipelinePartition(layers: 4, stages: 2)
    #expect(partition.modules(of: 0, tied: true) == [.embedding, .layer(0), .layer(1)])
    #expect(partition.modules(of: 1, tied: true) == [.embedding, .layer(2), .layer(3), .finalNorm])
    #expect(partition.modules(of: 1, tied: false) == [.layer(2), .layer(3), .finalNorm, .outputLayer])
    #expect(
      PipelinePartition(layers: 1, stages: 1).modules(of: 0, tied: true) == [
        .embedding, .layer(0), .finalNorm,
      ])
  }
}
