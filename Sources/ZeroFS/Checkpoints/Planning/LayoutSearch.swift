import Bytes
import HuggingFace

/// The layouts that a model can have on a number of GPUs, best first: `zerofs layouts`.
package struct LayoutSearch: Sendable {
  /// What is asked for.
  package struct Request: Sendable {
    package var gpus: Int
    package var gpusPerNode: Int
    /// Bytes of one GPU.
    package var memory: Int
    package var dtype: DType?
    package var batch: RankMemory.Batch
    /// Micro-batches of a step, over which pipeline bubbles are spread.
    package var microBatches: Int

    package init(
      gpus: Int, gpusPerNode: Int, memory: Int, dtype: DType?, batch: RankMemory.Batch, microBatches: Int
    ) {
      (self.gpus, self.gpusPerNode, self.memory) = (gpus, gpusPerNode, memory)
      (self.dtype, self.batch, self.microBatches) = (dtype, batch, microBatches)
    }
  }

  package struct Candidate: Sendable {
    package let layout: ParallelLayout
    /// Of the rank that needs most.
    package let memory: RankMemory
    /// The part of a step that stages wait for each other: (p − 1) / (m + p − 1).
    package let bubble: Double
    /// Why it isn't possible; `nil` where it is.
    package let refusal: String?
  }

  /// By the reasons that `reason` names.
  package let possible: [Candidate]
  package let impossible: [(layout: String, why: String)]

  /// What the order goes by.
  package static let reason =
    "tensor parallelism within a node, then the fewest pipeline bubbles, the lowest ZeRO stage, the least tensor parallelism, "
    + "the most memory left"

  /// - Throws: `ModelError`, `SourceError`, `TrainedError` for a model that MDS can't have at all.
  package init(_ planner: CheckpointPlanner, _ request: Request) throws {
    let (table, stored) = try planner.table()
    let dtype = request.dtype ?? stored ?? .bfloat16
    var possible: [Candidate] = []
    var impossible: [(layout: String, why: String)] = []
    for (tp, pp, dp) in LayoutSearch.sizes(request.gpus) {
      for (engine, stage) in LayoutSearch.engines(pp: pp) {
        let name = "tp\(tp)-pp\(pp)-dp\(dp)-zero\(stage)" + (engine == .noPipeline ? "-nopipe" : "")
        do {
          let layout = try ParallelLayout(
            tp: tp, pp: pp, dp: dp, zeroStage: stage, dtype: dtype, engine: engine)
          let geometry = try MegatronGeometry(
            table, layout: layout,
            vocabulary: PaddedVocabulary(
              rows: table.configuration.vocabSize, divisor: 128, tp: tp, filling: .zero),
            isTied: table.isTied)
          let memory = geometry.memory(request.batch, microBatches: request.microBatches)
            .max { $0.total < $1.total }
          guard let memory else { continue }
          guard memory.total <= request.memory else {
            impossible.append((name, "needs \(memory.total.bytesText) of \(request.memory.bytesText)"))
            continue
          }
          possible.append(
            Candidate(
              layout: layout, memory: memory,
              bubble: Double(pp - 1) / Double(request.microBatches + pp - 1), refusal: nil))
        } catch { impossible.append((name, "\(error)")) }
      }
    }
    func order(_ candidate: Candidate) -> (Int, Double, Int, Int, Int) {
      let layout = candidate.layout
      return (
        layout.tp <= request.gpusPerNode ? 0 : 1, candidate.bubble, layout.zeroStage, layout.tp,
        candidate.memory.total
      )
    }
    self.possible = possible.sorted { order($0) < order($1) }
    self.impossible = impossible
  }

  /// Every TP × PP × DP that makes `gpus`.
  private static func sizes(_ gpus: Int) -> [(tp: Int, pp: Int, dp: Int)] {
    let divisors = (1...gpus).filter { gpus.isMultiple(of: $0) }
    return divisors.flatMap { tp in
      divisors.filter { (gpus / tp).isMultiple(of: $0) }.map { (tp, $0, gpus / tp / $0) }
    }
  }

  /// What MDS has for a number of stages: the pipeline engine at ZeRO 1; without stages also none, at 1 to 3.
  private static func engines(pp: Int) -> [(ParallelLayout.Engine, stage: Int)] {
    [(.pipeline, 1)] + (pp == 1 ? [(.noPipeline, 1), (.noPipeline, 2), (.noPipeline, 3)] : [])
  }
}
