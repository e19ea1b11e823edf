/// Which modules each pipeline stage owns (Megatron `model/gpt_model.py`: `GPTModelPipe` with
/// `partition_method='type:transformer'`; DeepSpeed `runtime/utils.py`: `partition_balanced`).
struct PipelinePartition: Sendable {
  let layers: Int
  let stages: Int

  /// The transformer layers of stage `pp`: an even share, the first stages one more where it doesn't come out even.
  func layers(of pp: Int) -> Range<Int> {
    let (share, rest) = layers.quotientAndRemainder(dividingBy: stages)
    let start = pp * share + min(pp, rest)
    return start..<(start + share + (pp < rest ? 1 : 0))
  }

  /// In the order of `named_parameters()`: the first stage also owns the embedding, the last the final norm and the head.
  func modules(of pp: Int, tied: Bool) -> [MegatronModule] {
    let (first, last) = (pp == 0, pp == stages - 1)
    // A tied embedding is registered first on both of its stages (DeepSpeed `runtime/pipe/module.py`: `TiedLayerSpec`).
    return (first || (last && tied) ? [.embedding] : []) + layers(of: pp).map { .layer($0) }
      + (last ? [.finalNorm] + (tied ? [] : [.outputLayer]) : [])
  }
}

/// A module of MDS's GPT model that owns parameters.
package enum MegatronModule: Sendable, Hashable {
  case embedding
  case layer(Int)
  case finalNorm
  case outputLayer
}
