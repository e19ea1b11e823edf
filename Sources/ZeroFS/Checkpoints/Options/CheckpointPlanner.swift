import Bytes
import HuggingFace
import Run

/// Makes checkpoints of a model from options: what the options' texts say is read once, for every layout.
package struct CheckpointPlanner: Sendable {
  package let directory: HuggingFaceDirectory
  package let options: CheckpointOptions
  /// Of Megatron-DeepSpeed, as `--train-args` say.
  let arguments: MegatronArguments?
  /// Of HF Trainer, as `--train-args` say.
  private let trainer: TrainingArguments?
  private let configuration: DeepSpeedConfiguration?
  private let order: ParameterOrder?
  private let named: CheckpointOptions
  /// Of the run's own tokenizer, where `--train-args` name one that is here.
  let tokenizer: TokenizerFiles?

  /// - Throws: `RunError`, `MegatronArgumentError` for a run that can't be read, `ModelError` for an order of parameters.
  package init(_ directory: HuggingFaceDirectory, _ options: CheckpointOptions) throws {
    (self.directory, self.options, named) = (directory, options, CheckpointOptions())
    let isTrainer = options.flavor == .trainer
    arguments =
      try isTrainer
      ? nil
      : options.trainArguments.map {
        try MegatronArguments(commandLine: $0.text)
      }
    trainer =
      try isTrainer
      ? options.trainArguments.map { try TrainingArguments(commandLine: $0.text) } ?? .init() : nil
    configuration = try options.deepSpeedConfiguration.map { try DeepSpeedConfiguration($0) }
    order = try options.parameterOrder.map { try ParameterOrder($0) }
    tokenizer = arguments.flatMap { run in
      guard run.string("tokenizer_type") == "HFTokenizer" else { return nil }
      return run.string("tokenizer_model").flatMap { try? TokenizerFiles(directory: $0) }
    }
  }

  /// That of a layout: what it spells replaces what the run's own description says.
  private init(_ other: CheckpointPlanner, spelling named: CheckpointOptions) {
    (directory, options, self.named) = (other.directory, named.over(other.options), named)
    var run = other.arguments
    if let known = run {
      var changed = known
      named.apply(to: &changed)
      run = changed
    }
    arguments = run
    (trainer, configuration, order) = (other.trainer, other.configuration, other.order)
    tokenizer = other.tokenizer
  }

  /// What a manifest records: the options that make the same checkpoint whoever reads it.
  package var recorded: CheckpointOptions {
    var options = options
    options.flavor = flavor
    // Not the newest one of whoever reads the manifest.
    options.deepSpeedVersion = options.deepSpeedVersion ?? "\(DeepSpeedVersion.newest)"
    return options
  }

  var flavor: CheckpointOptions.Flavor { options.flavor ?? .alcf }

  // MARK: - Checkpoints

  /// Reads headers, no tensor data.
  ///
  /// - Throws: `LayoutError`, `ModelError`, `SourceError`, `RunError`, `MegatronArgumentError`, `RandomStateError`.
  package func checkpoint() throws -> Checkpoint {
    guard let megatron = flavor.megatron else { return try transformersCheckpoint() }
    let options = try megatronOptions()
    let model = try megatronModel(options, megatron)
    var own = ["seed": ArgumentValue.int(options.seed ?? 1234)]
    own["optimizer"] = options.optimizer.map { .string($0) }
    if options.fusedAdam == true { own["ds_fused_adam"] = .bool(true) }
    let run = try RunArguments(
      arguments, model: model, options: own, device: options.device ?? .cuda, tokenizer: tokenizer)
    return try Checkpoint(model, run: run, try settings())
  }

  /// With what the run's own description says.
  func megatronOptions() throws(LayoutError) -> CheckpointOptions {
    if options.parameterOrder != nil {
      throw .notInFlavor(option: "--parameter-order", flavor: flavor.rawValue)
    }
    guard let arguments else { return options }
    return try options.agreeing(with: named.over(CheckpointOptions(of: arguments)))
  }

  func megatronModel(_ options: CheckpointOptions, _ megatron: MegatronFlavor) throws -> MegatronModel {
    try MegatronModel(
      directory,
      layout: try layout(options, engine: options.noPipelineParallel == true ? .noPipeline : .pipeline),
      tokens: options.tokens ?? tokenizer?.tokens,
      vocabularyDivisor: options.makeVocabSizeDivisibleBy ?? 128,
      vocabularyFilling: options.vocabPadding ?? .zero,
      untie: options.untieEmbeddingsAndOutputWeights ?? false, masters: options.masters ?? .parameters,
      flavor: megatron, sequenceLength: arguments?.int("seq_length"),
      extensionUse: options.extensionUse ?? .guarded)
  }

  /// The same for a run of so many processes, where nothing says how many copies of the model there are.
  package func spread(over ranks: Int) throws(LayoutError) -> CheckpointPlanner {
    let said = flavor.megatron == nil ? options : try megatronOptions()
    let ofOneCopy = [said.tp, said.pp, said.sp].reduce(1) { $0.multipliedReportingOverflow(by: $1 ?? 1).partialValue }
    // What doesn't come out even the run itself refuses.
    guard said.dp == nil, ofOneCopy > 0, ranks.isMultiple(of: ofOneCopy) else { return self }
    var spelled = CheckpointOptions()
    spelled.dp = ranks / ofOneCopy
    return CheckpointPlanner(self, spelling: spelled)
  }

  /// The checkpoint of the layout that `name` spells, and as these options are for what it doesn't spell.
  ///
  /// - Throws: as `checkpoint()`.
  package func checkpoint(named name: LayoutName) throws -> Checkpoint {
    let checkpoint = try CheckpointPlanner(self, spelling: name.options).checkpoint()
    if name.options.untieEmbeddingsAndOutputWeights == false && !checkpoint.summary.isTied {
      throw LayoutError.notTied
    }
    if name.options.noPipelineParallel == false && checkpoint.layout.engine != .pipeline {
      throw LayoutError.notInFlavor(option: "pipe", flavor: flavor.rawValue)
    }
    return checkpoint
  }

  /// `--flavor hf` and `trainer`. Options of Megatron's are refused.
  private func transformersCheckpoint() throws -> Checkpoint {
    for (option, isGiven) in [
      ("--train-args", options.trainArguments != nil && trainer == nil),
      ("--universal-checkpoint", options.universalCheckpoint == true),
      ("--make-vocab-size-divisible-by", options.makeVocabSizeDivisibleBy != nil),
      ("--vocab-padding", options.vocabPadding ?? .zero != .zero),
      ("--tokenizer", options.tokens != nil),
      ("--untie-embeddings-and-output-weights", options.untieEmbeddingsAndOutputWeights == true),
      ("--ds-fused-adam", options.fusedAdam == true),
      ("--optimizer", options.optimizer ?? "adamw" != "adamw"),
    ] where isGiven {
      throw LayoutError.notInFlavor(option: option, flavor: flavor.rawValue)
    }
    var options = options
    options.zeroStage = options.zeroStage ?? configuration?.zeroStage
    if let run = configuration?.dtype(auto: trainer?.dtype) ?? trainer?.dtype {
      var said = CheckpointOptions()
      said.dtype = CheckpointOptions.Precision.allCases.first { $0.dtype == run }
      options = try options.agreeing(with: said)
    }
    let model = try HuggingFaceModel(
      directory,
      layout: try layout(options, engine: options.pp ?? 1 > 1 ? .pipeline : .noPipeline), order: order,
      masters: options.masters ?? .parameters)
    return try Checkpoint(model, trainer: trainer, try settings())
  }

  private func layout(_ options: CheckpointOptions, engine: ParallelLayout.Engine) throws
    -> ParallelLayout
  {
    try ParallelLayout(
      tp: options.tp ?? 1, pp: options.pp ?? 1, dp: options.dp ?? 1, sp: options.sp ?? 1,
      zeroStage: options.zeroStage ?? 1, dtype: try options.dtype?.dtype ?? directory.dtype() ?? .bfloat16,
      engine: engine)
  }

  /// What every flavor's checkpoint holds beside the model.
  private func settings() throws -> Checkpoint.Settings {
    var configuration = configuration ?? (trainer == nil ? .init() : .ofTrainer)
    if let dtype = options.gradAccumDtype { configuration.setGradAccumDType(dtype) }
    if let size = options.subGroupSize { try configuration.setSubGroupSize(size) }
    var settings = Checkpoint.Settings()
    settings.iteration = options.iteration ?? 0
    settings.deepSpeedConfiguration = configuration
    settings.hasZeroMoments = options.moments == .zeros
    settings.isUniversal = options.universalCheckpoint ?? false
    if let version = options.deepSpeedVersion { settings.deepSpeedVersion = try DeepSpeedVersion(version) }
    return settings
  }
}
