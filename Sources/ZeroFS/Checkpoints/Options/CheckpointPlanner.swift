import Bytes
import HuggingFace
import Run

/// Makes checkpoints of a model from options: what the options' texts say is read once, for every layout.
package struct CheckpointPlanner: Sendable {
  package let source: CheckpointSource
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
    try self.init(.model(directory), options)
  }

  /// - Throws: likewise.
  package init(_ source: CheckpointSource, _ options: CheckpointOptions) throws {
    (self.source, self.options, named) = (source, options, CheckpointOptions())
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
    (source, options, self.named) = (other.source, named.over(other.options), named)
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

  // MARK: - What is served

  /// What the options ask for: a checkpoint, or a Hugging Face directory.
  ///
  /// - Throws: as `checkpoint()`, and `TrainedError`.
  package func served() throws -> any ServedTree {
    guard options.view == .hf else { return try checkpoint() }
    guard case .trained(let trained) = source else {
      throw TrainedError.option("--as hf", why: "the source is a Hugging Face directory already")
    }
    var settings = HuggingFaceExport.Settings()
    settings.weights = options.weights ?? .masters
    settings.dtype = options.dtype?.dtype
    settings.drops = options.drop ?? false
    return try HuggingFaceExport(trained, like: options.like.map { try ModelDescription(path: $0) }, settings)
  }

  /// The same for the layout that `name` spells, and as these options are for what it doesn't spell.
  ///
  /// - Throws: likewise.
  package func served(named name: LayoutName) throws -> any ServedTree {
    if name.options.view != nil { return try CheckpointPlanner(self, spelling: name.options).served() }
    return try checkpoint(named: name)
  }

  // MARK: - Other steps

  /// Where the saves of a run are, if what is served is one of them as a Hugging Face directory, and stands for all.
  private var saves: TrainedFiles? {
    guard options.view == .hf, case .trained(let trained) = source, trained.files.isLatest else { return nil }
    return trained.files
  }

  /// Directories of the finished saves, the one that is served among them, oldest first.
  package var siblings: [String] {
    guard let saves, let newest = saves.newestStep else { return [] }
    return TrainedFiles.steps(of: saves.root).filter { $0.step <= newest }.map(\.tag)
  }

  /// The Hugging Face directory of another save, as these options are; `nil` where `name` isn't that of one. It throws as long as
  /// the save isn't finished.
  package func sibling(_ name: String) -> (() throws -> FileTree)? {
    guard let saves, let step = TrainedFiles.step(name) else { return nil }
    return {
      guard let newest = saves.newestStep, step <= newest else {
        throw TrainedError.noCheckpoint(
          path: "\(saves.root)/\(name)", why: "`latest` doesn't name it yet, nor a later one")
      }
      var options = options
      options.tag = name
      let trained = try TrainedCheckpoint(saves.root, tag: name, need: options.need)
      return try CheckpointPlanner(.trained(trained), options).served().tree(modified: trained.modified)
    }
  }

  // MARK: - Checkpoints

  /// Reads headers, no tensor data.
  ///
  /// - Throws: `LayoutError`, `ModelError`, `SourceError`, `RunError`, `MegatronArgumentError`, `RandomStateError`.
  package func checkpoint() throws -> Checkpoint {
    guard case .model(let directory) = source else { return try trainedCheckpoint() }
    guard let megatron = flavor.megatron else { return try transformersCheckpoint(directory) }
    let options = try megatronOptions()
    let model = try megatronModel(options, megatron)
    var own = ["seed": ArgumentValue.int(options.seed ?? 1234)]
    own["optimizer"] = options.optimizer.map { .string($0) }
    if options.fusedAdam == true { own["ds_fused_adam"] = .bool(true) }
    let run = try RunArguments(
      arguments, model: model, options: own, device: options.device ?? .cuda, tokenizer: tokenizer)
    return try Checkpoint(model, run: run, try settings(options))
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
    let directory = try source.directory(for: "a command line")
    return try MegatronModel(
      directory,
      layout: try layout(
        options, of: try directory.dtype(),
        engine: options.noPipelineParallel == true ? .noPipeline : .pipeline),
      tokens: options.tokens ?? tokenizer?.tokens,
      vocabularyDivisor: options.makeVocabSizeDivisibleBy ?? 128,
      vocabularyFilling: options.vocabPadding ?? .zero,
      untie: options.untieEmbeddingsAndOutputWeights ?? false, masters: options.masters ?? .parameters,
      flavor: megatron, sequenceLength: arguments?.int("seq_length"),
      extensionUse: options.extensionUse ?? .guarded)
  }

  /// The same training state in another layout.
  private func trainedCheckpoint() throws -> Checkpoint {
    guard case .trained(var trained) = source else { preconditionFailure("there is no run") }
    if trained.need < .optimizer {
      trained = try TrainedCheckpoint(trained.path, tag: trained.tag, need: .optimizer)
    }
    guard let stored = trained.geometry, let namespace = trained.run.arguments else {
      throw TrainedError.option(
        "a checkpoint without --as hf",
        why:
          "those of transformers' models, whose files don't say what Megatron would call them, are served as Hugging Face directories"
      )
    }
    let given =
      try arguments.map { try self.options.agreeing(with: named.over(CheckpointOptions(of: $0))) }
      ?? self.options
    var options = given.over(trained.run.options)
    if options.pp ?? 1 > 1 && given.noPipelineParallel == nil { options.noPipelineParallel = false }
    let flavor = options.flavor?.megatron ?? .alcf
    let layout = try layout(
      options, of: trained.run.layout.dtype,
      engine: options.noPipelineParallel == true ? .noPipeline : .pipeline)
    let divisor = options.makeVocabSizeDivisibleBy ?? 128
    guard divisor >= 1 && divisor < 1 << 24 else { throw LayoutError.vocabularyDivisor(divisor) }
    let rows = stored.table.configuration.vocabSize
    let geometry = try MegatronGeometry(
      RunModel(arguments: namespace, path: trained.path).table(vocabularySize: rows, flavor: flavor),
      layout: layout,
      vocabulary: PaddedVocabulary(
        rows: trained.run.vocabularySize > 0 ? trained.run.vocabularySize : rows, divisor: divisor,
        tp: layout.tp,
        filling: options.vocabPadding ?? .zero),
      isTied: stored.isTied)
    var training = try trained.training(isNewStage: options.newStage ?? false)
    let model = MegatronModel(
      TrainedSource(checkpoint: trained, geometry: stored, states: training.elementwise), geometry,
      flavor: flavor)
    var runArguments = arguments ?? namespace
    options.apply(to: &runArguments)
    let run = try RunArguments(
      runArguments, model: model, device: options.device ?? .cuda, tokenizer: tokenizer,
      isTrained: arguments == nil)
    if arguments != nil { training.follow(run.schedule) }
    var settings = try settings(options)
    if configuration == nil { settings.deepSpeedConfiguration = try trained.deepSpeedConfiguration(options) }
    settings.training = training
    return try Checkpoint(model, run: run, settings)
  }

  /// The same for a run of so many processes, where nothing says how many copies of the model there are.
  package func spread(over ranks: Int) throws(LayoutError) -> CheckpointPlanner {
    let said = flavor.megatron == nil ? options : try megatronOptions()
    let ofOneCopy = [said.tp, said.pp, said.sp].reduce(1) {
      $0.multipliedReportingOverflow(by: $1 ?? 1).partialValue
    }
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
  private func transformersCheckpoint(_ directory: HuggingFaceDirectory) throws -> Checkpoint {
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
      layout: try layout(
        options, of: try directory.dtype(), engine: options.pp ?? 1 > 1 ? .pipeline : .noPipeline),
      order: order,
      masters: options.masters ?? .parameters)
    return try Checkpoint(model, trainer: trainer, try settings(options))
  }

  private func layout(_ options: CheckpointOptions, of dtype: DType?, engine: ParallelLayout.Engine)
    throws(LayoutError) -> ParallelLayout
  {
    try ParallelLayout(
      tp: options.tp ?? 1, pp: options.pp ?? 1, dp: options.dp ?? 1, sp: options.sp ?? 1,
      zeroStage: options.zeroStage ?? 1, dtype: options.dtype?.dtype ?? dtype ?? .bfloat16,
      engine: engine)
  }

  /// What every flavor's checkpoint holds beside the model.
  private func settings(_ options: CheckpointOptions) throws -> Checkpoint.Settings {
    var configuration = configuration ?? (trainer == nil ? .init() : .ofTrainer)
    if let dtype = options.gradAccumDtype { configuration.setGradAccumDType(dtype) }
    if let size = options.subGroupSize { try configuration.setSubGroupSize(size) }
    var settings = Checkpoint.Settings()
    settings.training = .start(
      iteration: options.iteration ?? 0, hasZeroMoments: options.moments == .zeros)
    settings.deepSpeedConfiguration = configuration
    settings.isUniversal = options.universalCheckpoint ?? false
    if let version = options.deepSpeedVersion { settings.deepSpeedVersion = try DeepSpeedVersion(version) }
    return settings
  }
}
