import Bytes

/// How a run is spread over ranks, and the engine and optimizer that decide what its files hold.
package struct ParallelLayout: Sendable, Hashable {
  /// MDS's two model classes: `GPTModelPipe` in DeepSpeed's pipeline engine (the default), `GPTModel` with
  /// `--no-pipeline-parallel`.
  package enum Engine: Sendable, Hashable { case pipeline, noPipeline }

  package let tp: Int
  package let pp: Int
  package let dp: Int
  /// DeepSpeed's sequence-parallel ranks (`--ds-sequence-parallel-size`).
  package let sp: Int
  package let zeroStage: Int
  /// Of the parameters: bf16, fp16 or fp32.
  package let dtype: DType
  package let engine: Engine

  /// Ranks: no machine comes near it, and the names of so many files still fit into memory.
  static let maxRanks = 1 << 20

  /// - Throws: `LayoutError` where DeepSpeed or Megatron refuse the combination whatever the model is.
  package init(
    tp: Int = 1, pp: Int = 1, dp: Int = 1, sp: Int = 1, zeroStage: Int = 1, dtype: DType,
    engine: Engine = .pipeline
  )
    throws(LayoutError)
  {
    for (name, size) in [("--tp", tp), ("--pp", pp), ("--dp", dp), ("--sp", sp)]
    where size < 1 || size > ParallelLayout.maxRanks {
      throw .size(name: name, value: size)
    }
    var ranks = 1
    for size in [tp, pp, dp, sp] {
      ranks *= size
      guard ranks <= ParallelLayout.maxRanks else { throw .tooManyRanks(allowed: ParallelLayout.maxRanks) }
    }
    guard (0...3).contains(zeroStage) else { throw .zeroStage(zeroStage) }
    if engine == .pipeline && zeroStage > 1 { throw .pipelineZeroStage(zeroStage) }
    if engine == .noPipeline && pp > 1 { throw .pipelineStagesWithoutPipeline(pp: pp) }
    (self.tp, self.pp, self.dp, self.sp) = (tp, pp, dp, sp)
    (self.zeroStage, self.dtype, self.engine) = (zeroStage, dtype, engine)
  }

  package var worldSize: Int { tp * pp * zeroRanks }

  /// Ranks that DeepSpeed spreads the optimizer's state over: those of sequence parallelism hold the same parameters and count
  /// as data-parallel ones (DeepSpeed `runtime/engine.py`: `seq_dp_world_size`). `dp_world_size` of a checkpoint, and the
  /// bound of `dp` wherever that numbers a file or a part.
  package var zeroRanks: Int { dp * sp }

  /// Ranks that hold different slices of the model: `mp_world_size` of a checkpoint.
  package var modelParallelSize: Int { tp * pp }

  /// `mp_rank` of file names (DeepSpeed `runtime/pipe/topology.py`: `PipelineParallelGrid.ds_model_rank`).
  func modelParallelRank(tp: Int, pp: Int) -> Int { pp * self.tp + tp }

  /// The coordinates of all model-parallel ranks, in their order.
  var modelParallelRanks: [(tp: Int, pp: Int)] {
    (0..<pp).flatMap { pp in (0..<tp).map { ($0, pp) } }
  }

  /// The global rank of a coordinate (Megatron `core/parallel_state.py`: `initialize_model_parallel`).
  func globalRank(tp: Int, pp: Int, dp: Int) -> Int { pp * (zeroRanks * self.tp) + dp * self.tp + tp }
}

extension ParallelLayout {
  /// The coordinate of a global rank, from 0 to `worldSize`: the inverse of `globalRank`.
  func coordinate(ofRank rank: Int) -> (tp: Int, pp: Int, dp: Int) {
    (tp: rank % tp, pp: rank / (zeroRanks * tp), dp: rank / tp % zeroRanks)
  }
}

/// A layout that can't exist, for any model or for this one.
package enum LayoutError: Failure, Equatable {
  case size(name: String, value: Int)
  case zeroStage(Int)
  case pipelineZeroStage(Int)
  case pipelineStagesWithoutPipeline(pp: Int)
  /// An option and the run's command line disagree.
  case contradiction(option: String, trainArgs: String)
  case tensorParallel(tp: Int, what: String, count: Int, allowed: [Int])
  case pipelineParallel(pp: Int, layers: Int)
  case vocabularyDivisor(Int)
  case iteration(Int)
  case alreadyUntied
  /// MDS's combination of parallelisms.
  case sequenceParallel(sp: Int)
  case deepSpeedVersion(String)
  /// `--flavor` and `--megatron` disagree.
  case otherFlavor(option: String, checkout: String)
  /// A model of transformers is not cut into pieces (`--flavor hf`).
  case wholeModel(option: String)
  /// An option that means nothing in a flavor.
  case notInFlavor(option: String, flavor: String)
  case notTied
  /// A bias of the output layer where the extension can't have one.
  case tiedHeadBias, headBiasAtStage3
  /// More ranks than a directory is composed for only because its name was looked up.
  case ranks(Int, allowed: Int)
  case tooManyRanks(allowed: Int)

  package var exitStatus: ExitStatus {
    switch self {
    case .size, .zeroStage, .pipelineZeroStage, .pipelineStagesWithoutPipeline,
      .contradiction, .tensorParallel, .pipelineParallel, .vocabularyDivisor,
      .iteration, .alreadyUntied, .sequenceParallel, .deepSpeedVersion, .otherFlavor, .wholeModel,
      .notInFlavor, .notTied, .tiedHeadBias, .headBiasAtStage3, .ranks, .tooManyRanks:
      .layout
    }
  }

  package var description: String {
    switch self {
    case .size(let name, let value) where value < 1:
      "\(name) \(value): a number from 1 on."
    case .size(let name, let value):
      "\(name) \(value): at most \(ParallelLayout.maxRanks)."
    case .zeroStage(let stage):
      "--zero-stage \(stage): the stages are 0, 1, 2 and 3."
    case .pipelineZeroStage(let stage):
      "--zero-stage \(stage) with the pipeline engine: DeepSpeed allows stages 0 and 1 there, even at --pp 1 "
        + "(runtime/pipe/engine.py). Give --zero-stage 1, or --no-pipeline-parallel if the run has it."
    case .pipelineStagesWithoutPipeline(let pp):
      "--pp \(pp) with --no-pipeline-parallel: a run without the pipeline engine has one stage. "
        + "Drop --no-pipeline-parallel or give --pp 1."
    case .contradiction(let option, let trainArgs):
      "\(option): --train-args say \(trainArgs). Leave the option out, or give the run's command line."
    case .tensorParallel(let tp, let what, let count, let allowed):
      "--tp \(tp): the model's \(count) \(what) can't be split evenly over \(tp) ranks. "
        + "Possible: --tp \(allowed.map(String.init).joined(separator: ", "))."
    case .pipelineParallel(let pp, let layers):
      "--pp \(pp): more stages than the model's \(layers) layers. Possible: --pp 1 to \(layers)."
    case .vocabularyDivisor(let divisor):
      "--make-vocab-size-divisible-by \(divisor): a number from 1 to 16777215."
    case .iteration(let iteration):
      "--iteration \(iteration): a number from 0 on."
    case .alreadyUntied:
      "--untie-embeddings-and-output-weights: the model's embeddings are untied already. Leave the option out."
    case .sequenceParallel(let sp):
      "--sp \(sp) with --tp or --pp: DeepSpeed's sequence parallelism works with neither in MDS "
        + "(megatron/core/parallel_state.py). Give --tp 1 --pp 1, or leave --sp out."
    case .otherFlavor(let option, let checkout):
      "--flavor \(option): the checkout of --megatron is \(checkout). Leave one of them out."
    case .deepSpeedVersion(let text):
      "--deepspeed-version \(text): checkpoints of 0.14 to 0.19 are served. Give X.Y or X.Y.Z of one of these."
    case .wholeModel(let option):
      "\(option) with --flavor hf: a model of transformers is whole on each rank. Spread it by --dp and --zero-stage."
    case .tiedHeadBias:
      "lm_head.bias: the extension has a bias for an output layer that is not the embedding. Give "
        + "--untie-embeddings-and-output-weights."
    case .headBiasAtStage3:
      "--zero-stage 3: the model's output layer has a bias, which the extension uses outside of its module, so that stage 3 doesn't "
        + "gather it. Use stage 1 or 2."
    case .notInFlavor(let option, let flavor):
      "\(option) with --flavor \(flavor): there is no such thing in this kind of checkpoint. Leave the option out."
    case .notTied:
      "tied: the model's embeddings are not tied. Leave the word out."
    case .ranks(let count, let allowed):
      "\(count) ranks: a directory is looked up for at most \(allowed). Mount this layout by itself."
    case .tooManyRanks(let allowed):
      "--tp, --pp, --dp and --sp make more than \(allowed) ranks. Give sizes whose product is at most that."
    }
  }
}
