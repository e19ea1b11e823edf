import Bytes
import Checkpoints
import HuggingFace
import Mount
import Run

/// The checkpoints that directories below a mount's root are: the command line's, with another layout.
struct CheckpointResolver: Sendable {
  /// Ranks of a layout that is composed only because someone looked up its name: one of millions would fill the memory.
  private static let maxRanks = 1 << 16

  let directory: HuggingFaceDirectory
  let options: CheckpointOptions
  /// What the options name, read once: the daemon must not read it again.
  let files: CheckpointOptions.Files

  var layouts: LayoutResolver {
    LayoutResolver { [self] name in
      guard let words = LayoutName(name) else { return .unknown }
      do {
        let checkpoint = try checkpoint(words)
        let tree = checkpoint.tree(modified: directory.modified)
        return .tree(canonicalName: checkpoint.layoutName.description, tree)
      } catch {
        return .refused(reason: "\(error)")
      }
    }
  }

  func checkpoint(_ name: LayoutName) throws -> Checkpoint {
    let checkpoint = try options.spelled(name).checkpoint(of: directory, files.spelled(name))
    if name.isUntied == false && !checkpoint.summary.isTied { throw LayoutError.notTied }
    if name.engine == .pipeline && checkpoint.layout.engine != .pipeline {
      throw LayoutError.notInFlavor(option: "pipe", flavor: options.layout.flavor?.rawValue ?? "hf")
    }
    let ranks = checkpoint.layout.worldSize
    guard ranks <= CheckpointResolver.maxRanks else {
      throw LayoutError.ranks(ranks, allowed: CheckpointResolver.maxRanks)
    }
    return checkpoint
  }
}

extension CheckpointOptions {
  /// The options with what `name` spells in their place.
  fileprivate func spelled(_ name: LayoutName) -> Self {
    var options = self
    options.layout.tp = name.tp ?? layout.tp
    options.layout.pp = name.pp ?? layout.pp
    options.layout.dp = name.dp ?? layout.dp
    options.layout.sp = name.sp ?? layout.sp
    options.layout.zeroStage = name.zeroStage ?? layout.zeroStage
    options.layout.dtype = name.dtype?.layoutWord ?? layout.dtype
    options.layout.noPipelineParallel = name.engine.map { $0 == .noPipeline } ?? layout.noPipelineParallel
    options.layout.iteration = name.iteration ?? layout.iteration
    options.layout.makeVocabSizeDivisibleBy = name.vocabularyDivisor ?? layout.makeVocabSizeDivisibleBy
    options.layout.vocabPadding = name.vocabularyFilling ?? layout.vocabPadding
    options.layout.untieEmbeddingsAndOutputWeights = name.isUntied ?? layout.untieEmbeddingsAndOutputWeights
    options.run.universalCheckpoint = name.isUniversal ?? run.universalCheckpoint
    return options
  }
}

extension CheckpointOptions.Files {
  /// The run as it would be with the layout: what `name` spells replaces what `--train-args` say.
  fileprivate func spelled(_ name: LayoutName) -> Self {
    guard var arguments else { return self }
    func set(_ attribute: String, _ value: ArgumentValue?) {
      if let value { arguments.set(attribute, value) }
    }
    set("tensor_model_parallel_size", name.tp.map { .int($0) })
    set("pipeline_model_parallel_size", name.pp.map { .int($0) })
    set("zero_stage", name.zeroStage.map { .int($0) })
    set("bf16", name.dtype.map { .bool($0 == .bfloat16) })
    set("fp16", name.dtype.map { .bool($0 == .float16) })
    set("no_pipeline_parallel", name.engine.map { .bool($0 == .noPipeline) })
    set("make_vocab_size_divisible_by", name.vocabularyDivisor.map { .int($0) })
    set("untie_embeddings_and_output_weights", name.isUntied.map { .bool($0) })
    set("ds_sequence_parallel_size", name.sp.map { .int($0) })
    var files = self
    files.arguments = arguments
    return files
  }
}
