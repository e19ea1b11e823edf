import Bytes
import Run

extension CheckpointOptions {
  /// Those that spell a layout.
  init(_ layout: ParallelLayout, iteration: Int) {
    self.init()
    (tp, pp, dp, sp, zeroStage) = (layout.tp, layout.pp, layout.dp, layout.sp, layout.zeroStage)
    dtype = Precision.allCases.first { $0.dtype == layout.dtype }
    noPipelineParallel = layout.engine == .noPipeline
    self.iteration = iteration
  }

  /// The options that a run's command line says.
  init(of run: MegatronArguments) {
    self.init()
    tp = run.int("tensor_model_parallel_size")
    pp = run.int("pipeline_model_parallel_size")
    sp = run.int("ds_sequence_parallel_size")
    dp = run.dataParallelSize
    zeroStage = run.int("zero_stage")
    dtype = run.isTrue("bf16") ? .bf16 : run.isTrue("fp16") ? .fp16 : .fp32
    noPipelineParallel = run.isTrue("no_pipeline_parallel")
    makeVocabSizeDivisibleBy = run.int("make_vocab_size_divisible_by")
    seed = run.int("seed")
    optimizer = run.string("optimizer")
    fusedAdam = run.isTrue("ds_fused_adam")
  }

  /// Changes the run's arguments to what these options say: those of a layout that is looked up by its name.
  func apply(to run: inout MegatronArguments) {
    func set(_ attribute: String, _ value: ArgumentValue?) {
      if let value { run.set(attribute, value) }
    }
    set("tensor_model_parallel_size", tp.map { .int($0) })
    set("pipeline_model_parallel_size", pp.map { .int($0) })
    set("ds_sequence_parallel_size", sp.map { .int($0) })
    set("zero_stage", zeroStage.map { .int($0) })
    set("bf16", dtype.map { .bool($0 == .bf16) })
    set("fp16", dtype.map { .bool($0 == .fp16) })
    set("no_pipeline_parallel", noPipelineParallel.map { .bool($0) })
    set("make_vocab_size_divisible_by", makeVocabSizeDivisibleBy.map { .int($0) })
    set("untie_embeddings_and_output_weights", untieEmbeddingsAndOutputWeights.map { .bool($0) })
  }

  /// These options, and where one isn't given what the run says.
  ///
  /// - Throws: `LayoutError.contradiction` where both say something, and not the same.
  func agreeing(with run: CheckpointOptions) throws(LayoutError) -> CheckpointOptions {
    for field in OptionField.all {
      if let own = field.text(self), let other = field.text(run), own != other {
        throw .contradiction(
          option: field.takesValue ? "\(field.flag) \(own)" : field.flag,
          trainArgs: field.takesValue ? other : "otherwise")
      }
    }
    return over(run)
  }
}
