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
  let trainer: TrainingArguments?
  let configuration: DeepSpeedConfiguration?
  let order: ParameterOrder?
  let named: CheckpointOptions
  /// Of the run's own tokenizer, where `--train-args` name one that is here.
  let tokenizer: TokenizerFiles?

  /// - Throws: `RunError`, `MegatronArgumentError` for a run that can't be read, `ModelError` for an order of parameters.
  package init(_ directory: HuggingFaceDirectory, _ options: CheckpointOptions) throws {
    try self.init(.model(directory), options)
  }

  /// - Throws: likewise.
  package init(_ source: CheckpointSource, _ options: CheckpointOptions) throws {
    (self.source, self.options, named) = (source, options, CheckpointOptions())
    let isTrainer = CheckpointPlanner.flavor(source, options) == .trainer
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

  var flavor: CheckpointOptions.Flavor { CheckpointPlanner.flavor(source, options) }

  /// Who saves the checkpoint: if no option says it, who saved the source.
  private static func flavor(_ source: CheckpointSource, _ options: CheckpointOptions)
    -> CheckpointOptions.Flavor
  {
    if let flavor = options.flavor { return flavor }
    if case .trained(let trained) = source { return trained.run.options.flavor ?? .alcf }
    return .alcf
  }

  // MARK: - What is served

  /// What the options ask for: a checkpoint, or a Hugging Face directory.
  ///
  /// - Throws: as `checkpoint()`, and `TrainedError`.
  package func served() throws -> any ServedTree {
    guard options.view == .hf else { return try checkpoint() }
    let trained: TrainedCheckpoint
    switch source {
    case .trained(let checkpoint): trained = checkpoint
    case .model(let directory):
      guard !directory.isOnDisk else {
        throw TrainedError.option("--as hf", why: "the source is a Hugging Face directory already")
      }
      return try StoredModel(directory)
    }
    var settings = HuggingFaceExport.Settings()
    settings.weights = options.weights ?? .masters
    settings.dtype = options.dtype?.dtype
    settings.drops = options.drop ?? false
    return try HuggingFaceExport(trained, settings)
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

  /// Directories of the finished saves, the one that is served among them, oldest first; none where they can't be listed.
  package var siblings: [String] {
    guard let saves, let newest = saves.newestStep else { return [] }
    return ((try? TrainedFiles.steps(of: saves.root)) ?? []).filter { $0.step <= newest }.map(\.tag)
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
      let trained = try TrainedCheckpoint(
        saves.root, tag: name, like: options.like, need: options.need)
      return try CheckpointPlanner(.trained(trained), options).served().tree(modified: trained.modified)
    }
  }

  // MARK: - Checkpoints

  /// Reads headers, no tensor data.
  ///
  /// - Throws: `LayoutError`, `ModelError`, `SourceError`, `RunError`, `MegatronArgumentError`, `RandomStateError`.
  package func checkpoint() throws -> Checkpoint {
    let directory: HuggingFaceDirectory
    switch source {
    case .trained(let trained): return try trainedCheckpoint(trained)
    case .model(let model): directory = model
    }
    guard let megatron = flavor.megatron else { return try transformersCheckpoint(directory) }
    let options = try megatronOptions()
    let model = try megatronModel(directory, options, megatron)
    return try Checkpoint(model, run: try newRun(options, model), try settings(options))
  }

  /// A run that no checkpoint tells of.
  func newRun(_ options: CheckpointOptions, _ model: MegatronModel) throws -> RunArguments {
    var own = ["seed": ArgumentValue.int(options.seed ?? 1234)]
    own["optimizer"] = options.optimizer.map { .string($0) }
    if options.fusedAdam == true { own["ds_fused_adam"] = .bool(true) }
    return try RunArguments(
      arguments, model: model, options: own, device: options.device ?? .cuda, tokenizer: tokenizer)
  }

  /// With what the run's own description says, and of a checkpoint what its run had.
  func megatronOptions() throws(LayoutError) -> CheckpointOptions {
    let given = try givenOptions()
    guard case .trained(let trained) = source else { return given }
    return inherited(given, of: trained)
  }

  private func givenOptions() throws(LayoutError) -> CheckpointOptions {
    if options.parameterOrder != nil {
      throw .notInFlavor(option: "--parameter-order", flavor: flavor.rawValue)
    }
    guard let arguments else { return options }
    return try options.agreeing(with: named.over(CheckpointOptions(of: arguments)))
  }

  /// The model in the layout that `options` say.
  func megatronModel(_ options: CheckpointOptions, _ megatron: MegatronFlavor) throws -> MegatronModel {
    switch source {
    case .model(let directory): try megatronModel(directory, options, megatron)
    case .trained(let trained): try trainedModel(trained, options, megatron, states: [])
    }
  }

  private func megatronModel(
    _ directory: HuggingFaceDirectory, _ options: CheckpointOptions, _ megatron: MegatronFlavor
  ) throws -> MegatronModel {
    try MegatronModel(
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

  /// The same for a run of so many processes, where nothing says how many copies of the model there are.
  package func spread(over ranks: Int) throws(LayoutError) -> CheckpointPlanner {
    let said = flavor.megatron == nil ? options : try megatronOptions()
    let ofOneCopy = [said.tp, said.pp, said.sp].reduce(1) {
      $0.multipliedReportingOverflow(by: $1 ?? 1).partialValue
    }
    // What doesn't come out even the run itself refuses.
    let given = flavor.megatron == nil ? options : try givenOptions()
    guard given.dp == nil, ofOneCopy > 0, ranks.isMultiple(of: ofOneCopy) else { return self }
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
    let options = try transformersOptions(options)
    let model = try HuggingFaceModel(
      directory,
      layout: try layout(
        options, of: try directory.dtype(), engine: options.pp ?? 1 > 1 ? .pipeline : .noPipeline),
      order: order,
      masters: options.masters ?? .parameters)
    return try Checkpoint(model, trainer: trainer, try settings(options))
  }

  /// With what configuration and arguments of such a run say.
  func transformersOptions(_ options: CheckpointOptions) throws(LayoutError) -> CheckpointOptions {
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
    return options
  }

  func layout(_ options: CheckpointOptions, of dtype: DType?, engine: ParallelLayout.Engine)
    throws(LayoutError) -> ParallelLayout
  {
    try ParallelLayout(
      tp: options.tp ?? 1, pp: options.pp ?? 1, dp: options.dp ?? 1, sp: options.sp ?? 1,
      zeroStage: options.zeroStage ?? 1, dtype: options.dtype?.dtype ?? dtype ?? .bfloat16,
      engine: engine)
  }

  /// What every flavor's checkpoint holds beside the model.
  func settings(_ options: CheckpointOptions) throws -> Checkpoint.Settings {
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
