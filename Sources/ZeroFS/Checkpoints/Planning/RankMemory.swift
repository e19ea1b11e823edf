import Bytes
import HuggingFace

/// What one rank of a run needs in memory, in bytes, part by part.
package struct RankMemory: Sendable, Equatable {
  /// Weights in the run's dtype.
  package let parameters: Int
  /// In the run's dtype; at stages 1 and 2 the rank's part in fp32 as well, which the optimizer steps with.
  package let gradients: Int
  /// fp32 copies of the weights.
  package let masters: Int
  /// Adam's two, in fp32.
  package let moments: Int
  /// What DeepSpeed reduces and gathers in: `reduce_bucket_size` and `allgather_bucket_size`, 5e8 elements each unless the model
  /// is smaller (DeepSpeed `runtime/zero/config.py`).
  package let buffers: Int
  package let activations: Int

  package var total: Int { parameters + gradients + masters + moments + buffers + activations }

  /// What decides the activations.
  package struct Batch: Sendable {
    package var microBatchSize: Int
    package var sequenceLength: Int
    /// `--checkpoint-activations`: each layer's input alone is kept.
    package var recomputes: Bool
    /// Flash attention keeps no matrix of scores.
    package var hasFlashAttention: Bool

    package init(microBatchSize: Int, sequenceLength: Int, recomputes: Bool, hasFlashAttention: Bool) {
      (self.microBatchSize, self.sequenceLength) = (microBatchSize, sequenceLength)
      (self.recomputes, self.hasFlashAttention) = (recomputes, hasFlashAttention)
    }
  }

  private static let bucketElements = 500_000_000

  /// - Parameters:
  ///   - elements: parameters of the rank, as tensor and pipeline parallelism cut them.
  ///   - layers: transformer layers of its stage.
  ///   - microBatches: those whose activations the stage holds at once.
  init(
    elements: Int, layers: Int, microBatches: Int, layout: ParallelLayout, hiddenSize: Int, heads: Int,
    batch: Batch
  ) {
    let (ranks, width) = (layout.zeroRanks, layout.dtype.size)
    func share(_ bytes: Int, from stage: Int) -> Int { layout.zeroStage >= stage ? bytes / ranks : bytes }
    parameters = share(elements * width, from: 3)
    let isNarrow = layout.dtype != .float32
    gradients =
      share(elements * width, from: 2) + (isNarrow && layout.zeroStage >= 1 ? elements * 4 / ranks : 0)
    // At fp32 the weights are their own masters where nothing is partitioned.
    masters = isNarrow || layout.zeroStage >= 1 ? share(elements * 4, from: 1) : 0
    moments = share(elements * 8, from: 1)
    buffers = layout.zeroStage == 0 ? 0 : 2 * min(RankMemory.bucketElements, elements) * width
    activations =
      RankMemory.activations(batch, hiddenSize: hiddenSize, heads: heads, tp: layout.tp, layers: layers)
      * microBatches
  }

  /// Of one micro-batch in a stage (Korthikanti et al., "Reducing Activation Recomputation in Large Transformer Models", 2022,
  /// equation 2: `sbh (10 + 24/t + 5as/ht)` bytes a layer; with recomputation `2sbh` a layer, and one layer's whole).
  private static func activations(_ batch: Batch, hiddenSize: Int, heads: Int, tp: Int, layers: Int) -> Int {
    let sbh = Double(batch.sequenceLength * batch.microBatchSize) * Double(hiddenSize)
    let scores =
      batch.hasFlashAttention
      ? 0 : 5 * Double(heads) * Double(batch.sequenceLength) / (Double(hiddenSize) * Double(tp))
    let layer = sbh * (10 + 24 / Double(tp) + scores)
    return Int(batch.recomputes ? 2 * sbh * Double(layers) + layer : layer * Double(layers))
  }
}

extension MegatronGeometry {
  /// Elements of the parameters of each stage's ranks, and its number of layers: the embedding is the first one's, the final norm
  /// and the head the last one's.
  func elementsByStage() -> [(elements: Int, layers: Int)] {
    func count(_ module: MegatronModule) -> Int {
      table.entries(of: module).reduce(0) { $0 + $1.sharding.shape(parallelism).reduce(1, *) }
    }
    let layer = count(.layer(0))
    return (0..<layout.pp).map { pp in
      let layers = partition.layers(of: pp).count
      let others = modules(of: pp).filter { if case .layer = $0 { false } else { true } }
      return (layers * layer + others.reduce(0) { $0 + count($1) }, layers)
    }
  }

  /// The memory of the ranks of each stage.
  func memory(_ batch: RankMemory.Batch, microBatches: Int) -> [RankMemory] {
    elementsByStage().enumerated().map { pp, stage in
      RankMemory(
        elements: stage.elements, layers: stage.layers,
        // One forward, one backward: a stage holds as many as there are stages from it on (DeepSpeed `runtime/pipe/schedule.py`:
        // `TrainSchedule.num_pipe_buffers`).
        microBatches: min(layout.pp - pp, microBatches), layout: layout, hiddenSize: configuration.hiddenSize,
        heads: configuration.heads, batch: batch)
    }
  }
}
