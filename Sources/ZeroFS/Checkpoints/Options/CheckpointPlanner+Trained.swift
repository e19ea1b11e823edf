import Bytes
import HuggingFace
import Run

/// What a run has trained, as the same training state in another layout, and by another client of DeepSpeed.
extension CheckpointPlanner {
  /// - Throws: as `checkpoint()`, and `TrainedError`.
  func trainedCheckpoint(_ source: TrainedCheckpoint) throws -> Checkpoint {
    let trained = try source.withOptimizer()
    let isSameClient = (trained.model != nil) == (flavor.megatron != nil)
    let training = try trained.training(
      isNewStage: options.newStage ?? false, isSameClient: isSameClient)
    guard let megatron = flavor.megatron else {
      return try transformersCheckpoint(trained, training, isSameClient: isSameClient)
    }
    return try megatronCheckpoint(trained, training, megatron, isSameClient: isSameClient)
  }

  private func megatronCheckpoint(
    _ trained: TrainedCheckpoint, _ state: TrainingState, _ megatron: MegatronFlavor, isSameClient: Bool
  ) throws -> Checkpoint {
    let options = try megatronOptions()
    let model = try trainedModel(trained, options, megatron, states: state.elementwise)
    let run: RunArguments
    if let namespace = trained.run.arguments, isSameClient {
      var description = arguments ?? namespace
      options.apply(to: &description)
      run = try RunArguments(
        description, model: model, device: options.device ?? .cuda, tokenizer: tokenizer,
        isTrained: arguments == nil)
    } else {
      run = try newRun(options, model)
    }
    var (training, settings) = (state, try settings(options))
    if let arguments {
      training.follow(run.schedule)
      training.warnings += batchWarnings(arguments, before: trained.run.arguments, training)
    }
    if configuration == nil && isSameClient {
      settings.deepSpeedConfiguration = try trained.deepSpeedConfiguration(options)
    }
    settings.training = training
    return try Checkpoint(model, run: run, settings)
  }

  /// The schedule and the data go on by samples, the iteration by steps: where a step has another number of samples, the two
  /// count otherwise.
  private func batchWarnings(
    _ run: MegatronArguments, before: MegatronArguments?, _ training: TrainingState
  ) -> [String] {
    guard let batch = run.int("global_batch_size"), let old = before?.int("global_batch_size"), batch != old,
      training.iteration > 0
    else { return [] }
    return [
      "--train-args: global_batch_size is \(batch), and the run had \(old): schedule and data go on behind "
        + "\(training.consumedTrainSamples) samples, and the iteration is \(training.iteration) still, by which --train-iters "
        + "counts. --new-stage starts all of them at 0."
    ]
  }

  /// `--flavor hf` and `trainer`.
  private func transformersCheckpoint(
    _ trained: TrainedCheckpoint, _ training: TrainingState, isSameClient: Bool
  ) throws -> Checkpoint {
    let options = inherited(try transformersOptions(self.options), of: trained)
    let layout = try layout(
      options, of: trained.run.layout.dtype, engine: options.pp ?? 1 > 1 ? .pipeline : .noPipeline)
    let states = training.elementwise
    let weights = try trained.named(
      values: [.master] + states.map { .state($0) }, layout.dtype,
      drops: options.drop ?? false)
    let model = try HuggingFaceModel(
      weights, states: states, layout: layout, order: order, path: trained.path)
    var settings = try settings(options)
    if configuration == nil && isSameClient {
      settings.deepSpeedConfiguration = try trained.deepSpeedConfiguration(options)
    }
    settings.training = training
    return try Checkpoint(model, trainer: trainer, settings)
  }

  /// What isn't given is as the run had it; of another client of DeepSpeed's, what the weights are in.
  func inherited(_ given: CheckpointOptions, of trained: TrainedCheckpoint) -> CheckpointOptions {
    guard (trained.model != nil) == (flavor.megatron != nil) else {
      var options = given
      options.dtype = given.dtype ?? trained.run.options.dtype
      options.deepSpeedVersion = given.deepSpeedVersion ?? trained.run.options.deepSpeedVersion
      return options
    }
    var options = given.over(trained.run.options)
    if options.pp ?? 1 > 1 && given.noPipelineParallel == nil { options.noPipelineParallel = false }
    return options
  }

  /// The model that a run has trained, as MDS holds it.
  ///
  /// - Parameter states: of the optimizer.
  /// - Throws: `LayoutError`, `ModelError`, `SourceError`, `TrainedError`.
  func trainedModel(
    _ trained: TrainedCheckpoint, _ options: CheckpointOptions, _ megatron: MegatronFlavor, states: [String]
  ) throws -> MegatronModel {
    let layout = try layout(
      options, of: trained.run.layout.dtype,
      engine: options.noPipelineParallel == true ? .noPipeline : .pipeline)
    let divisor = options.makeVocabSizeDivisibleBy ?? 128
    guard divisor >= 1 && divisor < 1 << 24 else { throw LayoutError.vocabularyDivisor(divisor) }
    let (table, vocabularySize, source) = try trainedTable(trained, megatron, states: states)
    let geometry = try MegatronGeometry(
      table, layout: layout,
      vocabulary: PaddedVocabulary(
        rows: vocabularySize, divisor: divisor, tp: layout.tp, filling: options.vocabPadding ?? .zero),
      isTied: table.isTied)
    return MegatronModel(source, geometry, flavor: megatron)
  }

  /// The parameters that every layout has, and what they are stored in.
  ///
  /// - Throws: `ModelError`, `SourceError`, `TrainedError`.
  func table() throws -> (ParameterTable, stored: DType?) {
    switch source {
    case .model(let directory): return (try ParameterTable(of: directory), try directory.dtype())
    case .trained(let trained):
      let table = try trainedTable(trained, flavor.megatron ?? .alcf, states: []).0
      return (table, trained.run.layout.dtype)
    }
  }

  /// The parameters, the rows that stand for tokens, and where the contents come from.
  private func trainedTable(
    _ trained: TrainedCheckpoint, _ megatron: MegatronFlavor, states: [String]
  ) throws -> (ParameterTable, vocabularySize: Int, any ParameterSource) {
    if let stored = trained.geometry, let model = trained.model {
      let rows = stored.table.configuration.vocabSize
      var table = try model.table(vocabularySize: rows, flavor: megatron)
      table.isTied = stored.isTied
      return (
        table, trained.run.vocabularySize > 0 ? trained.run.vocabularySize : rows,
        TrainedSource(checkpoint: trained, geometry: stored, states: states)
      )
    }
    let weights = try trained.named(
      values: [], trained.run.layout.dtype, drops: false)
    var table = try ParameterTable(
      of: weights.configuration, flavor: megatron, holds: Set(weights.names).contains)
    table.isTied = weights.isTied
    try weights.checkStates(states, table, path: trained.path)
    try weights.check(table, path: trained.path)
    return (table, table.configuration.vocabSize, NamedSource(weights: weights, states: states))
  }
}
