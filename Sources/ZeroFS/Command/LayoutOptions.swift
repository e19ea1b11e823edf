import ArgumentParser
import Bytes
import Checkpoints
import HuggingFace
import Run

/// The layout of a checkpoint: short names, and MDS's own. What isn't given is what the run's command line says, or a default.
struct LayoutOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "Who saves the checkpoint: a fork of Megatron-DeepSpeed (alcf, upstream, upstream-fpdt), a script that gives "
        + "DeepSpeed a model of transformers (hf), or HF Trainer (trainer). (default: alcf)",
      valueName: "flavor"))
  var flavor: Flavor?

  @Option(
    help: ArgumentHelp(
      "A checkout of Megatron-DeepSpeed, to find the flavor from.", valueName: "dir"))
  var megatron: String?

  @Option(
    help: ArgumentHelp(
      "With --flavor hf and trainer: the order of the parameters of a model family that zerofs doesn't know.",
      valueName: "file"))
  var parameterOrder: String?

  enum Flavor: String, ExpressibleByArgument, CaseIterable {
    case alcf, upstream
    case upstreamFPDT = "upstream-fpdt"
    case hf, trainer
  }

  /// The fork of Megatron-DeepSpeed; `nil` for who trains a model of transformers.
  func megatronFlavor() throws -> MegatronFlavor? {
    let found = try megatron.map { try MegatronFlavor(checkout: $0) }
    if let found, let flavor, flavor.rawValue != found.rawValue {
      throw LayoutError.otherFlavor(option: flavor.rawValue, checkout: found.rawValue)
    }
    return found ?? flavor.map { MegatronFlavor(rawValue: $0.rawValue) } ?? .alcf
  }

  @Option(
    name: [.customLong("tp"), .customLong("tensor-model-parallel-size")],
    help: ArgumentHelp("Tensor-parallel ranks. (default: 1)", valueName: "n"))
  var tp: Int?

  @Option(
    name: [.customLong("pp"), .customLong("pipeline-model-parallel-size")],
    help: ArgumentHelp("Pipeline stages. (default: 1)", valueName: "n"))
  var pp: Int?

  @Option(help: ArgumentHelp("Data-parallel ranks. (default: 1)", valueName: "n"))
  var dp: Int?

  @Option(
    name: [.customLong("sp"), .customLong("ds-sequence-parallel-size")],
    help: ArgumentHelp("Ranks of DeepSpeed's sequence parallelism. (default: 1)", valueName: "n"))
  var sp: Int?

  @Option(help: ArgumentHelp("ZeRO stage: 0, 1, 2 or 3. (default: 1)", valueName: "stage"))
  var zeroStage: Int?

  @Option(
    help: ArgumentHelp("Parameters in bf16, fp16 or fp32. (default: the model's own)", valueName: "dtype"))
  var dtype: String?

  @Flag(help: "The run has --no-pipeline-parallel: GPTModel instead of the pipeline engine.")
  var noPipelineParallel = false

  @Option(help: ArgumentHelp("As the run has it. (default: 128)", valueName: "n"))
  var makeVocabSizeDivisibleBy: Int?

  @Option(help: ArgumentHelp("What padded vocabulary rows hold: zero or mean.", valueName: "filling"))
  var vocabPadding: PaddedVocabulary.Filling = .zero

  @Flag(help: "Serve a tied model untied: its output layer starts as a copy of the embedding.")
  var untieEmbeddingsAndOutputWeights = false

  @Option(help: ArgumentHelp("The iteration that the checkpoint claims.", valueName: "n"))
  var iteration = 0
}

/// What a full resume must agree with.
struct RunOptions: ParsableArguments {
  @Option(
    name: [.customLong("train-args")], parsing: .unconditional,  // the text starts with a dash itself
    help: ArgumentHelp(
      "The run's command line, of MDS or HF Trainer: the arguments, or a file that holds them (a script, a log).",
      valueName: "text|file"))
  var trainArguments: String?

  @Option(
    name: [.customLong("deepspeed-config"), .customLong("deepspeed_config")],
    help: ArgumentHelp("The run's DeepSpeed configuration, a JSON file.", valueName: "file"))
  var deepSpeedConfiguration: String?

  @Option(
    help: ArgumentHelp(
      "The run's version of DeepSpeed: 0.14 to 0.19. (default: \(DeepSpeedVersion.newest))",
      valueName: "x.y.z"))
  var deepspeedVersion: String?

  @Option(help: ArgumentHelp("The run's seed. (default: 1234)", valueName: "n"))
  var seed: Int?

  @Option(help: ArgumentHelp("Where the run's generators are: cuda, xpu or cpu.", valueName: "device"))
  var device: AcceleratorKind = .cuda

  @Option(help: ArgumentHelp("The run's optimizer: adam or adamw. (default: adam)", valueName: "name"))
  var optimizer: String?

  @Flag(
    name: [.customLong("ds-fused-adam"), .customLong("ds_fused_adam")], help: "The run has --ds_fused_adam.")
  var fusedAdam = false

  @Option(
    help: ArgumentHelp("Adam's moments: none, as DeepSpeed saves at step 0, or zeros.", valueName: "moments"))
  var moments: Moments = .none

  @Option(
    help: ArgumentHelp(
      "fp32 masters: of the rounded parameters, as DeepSpeed makes them, or of the source.",
      valueName: "masters"))
  var masters: Parameter.Masters = .parameters

  @Option(
    help: ArgumentHelp("As data_types.grad_accum_dtype of the DeepSpeed configuration.", valueName: "dtype"))
  var gradAccumDtype: String?

  @Option(
    help: ArgumentHelp("As zero_optimization.sub_group_size of the DeepSpeed configuration.", valueName: "n"))
  var subGroupSize: Int?

  @Flag(help: "Serve a universal checkpoint, too, for a run with --universal-checkpoint.")
  var universalCheckpoint = false

  enum Moments: String, ExpressibleByArgument, CaseIterable { case none, zeros }
}

/// Everything that decides what a checkpoint holds.
struct CheckpointOptions: ParsableArguments {
  @OptionGroup(title: "Layout")
  var layout: LayoutOptions

  @OptionGroup(title: "Run")
  var run: RunOptions

  /// What files that the options name hold.
  struct Files {
    var arguments: MegatronArguments?
    var trainer: TrainingArguments?
    var configuration: DeepSpeedConfiguration?
    var order: ParameterOrder?
    /// Of `--megatron`, or as given; `nil` for who trains a model of transformers.
    var flavor: MegatronFlavor?
  }

  func files() throws -> Files {
    let isTrainer = layout.flavor == .trainer
    return Files(
      arguments: try isTrainer ? nil : run.trainArguments.map { try MegatronArguments(textOrFile: $0) },
      trainer: try isTrainer
        ? run.trainArguments.map { try TrainingArguments(textOrFile: $0) } ?? .init() : nil,
      configuration: try run.deepSpeedConfiguration.map { try DeepSpeedConfiguration(path: $0) },
      order: try layout.parameterOrder.map { try ParameterOrder(path: $0) },
      flavor: try layout.megatronFlavor())
  }

  /// The checkpoint of the model in `directory`. Reads headers, no tensor data.
  func checkpoint(of directory: HuggingFaceDirectory, _ files: Files? = nil) throws -> Checkpoint {
    let files = try files ?? self.files()
    guard let flavor = files.flavor else {
      return try transformersCheckpoint(of: directory, files)
    }
    if layout.parameterOrder != nil {
      throw LayoutError.notInFlavor(option: "--parameter-order", flavor: flavor.rawValue)
    }
    let arguments = files.arguments
    let model = try MegatronModel(
      directory, layout: try parallelLayout(directory, arguments),
      vocabularyDivisor: try resolve(
        "--make-vocab-size-divisible-by", layout.makeVocabSizeDivisibleBy,
        arguments?.int("make_vocab_size_divisible_by"), 128),
      vocabularyFilling: layout.vocabPadding,
      untie: layout.untieEmbeddingsAndOutputWeights, masters: run.masters, flavor: flavor)
    return try Checkpoint(model, run: try runArguments(arguments, model), try options(files))
  }

  /// `--flavor hf` and `trainer`. Options of Megatron's are refused.
  private func transformersCheckpoint(of directory: HuggingFaceDirectory, _ files: Files) throws
    -> Checkpoint
  {
    for (option, isGiven) in [
      ("--train-args", run.trainArguments != nil && files.trainer == nil),
      ("--universal-checkpoint", run.universalCheckpoint),
      ("--make-vocab-size-divisible-by", layout.makeVocabSizeDivisibleBy != nil),
      ("--vocab-padding", layout.vocabPadding != .zero),
      ("--untie-embeddings-and-output-weights", layout.untieEmbeddingsAndOutputWeights),
      ("--ds-fused-adam", run.fusedAdam), ("--optimizer", run.optimizer ?? "adamw" != "adamw"),
    ] where isGiven {
      throw LayoutError.notInFlavor(option: option, flavor: layout.flavor?.rawValue ?? "hf")
    }
    let parallel = try ParallelLayout(
      tp: layout.tp ?? 1, pp: layout.pp ?? 1, dp: layout.dp ?? 1, sp: layout.sp ?? 1,
      zeroStage: layout.zeroStage ?? files.configuration?.zeroStage ?? 1,
      dtype: try parameterDType(directory, run: transformersDType(files)),
      engine: layout.pp ?? 1 > 1 ? .pipeline : .noPipeline)
    let model = try HuggingFaceModel(
      directory, layout: parallel, order: files.order,
      masters: run.masters)
    return try Checkpoint(model, trainer: files.trainer, try options(files))
  }

  /// What every flavor's checkpoint holds beside the model.
  private func options(_ files: Files) throws -> Checkpoint.Options {
    var configuration = files.configuration ?? (files.trainer == nil ? .init() : .ofTrainer)
    if let dtype = run.gradAccumDtype { try configuration.setGradAccumDType(dtype) }
    if let size = run.subGroupSize { try configuration.setSubGroupSize(size) }
    var options = Checkpoint.Options()
    options.iteration = layout.iteration
    options.deepSpeedConfiguration = configuration
    options.hasZeroMoments = run.moments == .zeros
    options.isUniversal = run.universalCheckpoint
    if let version = run.deepspeedVersion { options.deepSpeedVersion = try DeepSpeedVersion(version) }
    return options
  }

  private func runArguments(_ arguments: MegatronArguments?, _ model: MegatronModel) throws -> RunArguments {
    var own = ["seed": ArgumentValue.int(try resolve("--seed", run.seed, arguments?.int("seed"), 1234))]
    own["optimizer"] = try resolve("--optimizer", run.optimizer, arguments?.string("optimizer")).map {
      .string($0)
    }
    if run.fusedAdam {
      if let arguments, !arguments.isTrue("ds_fused_adam") {
        throw LayoutError.contradiction(option: "--ds-fused-adam", trainArgs: "otherwise")
      }
      own["ds_fused_adam"] = .bool(true)
    }
    return try RunArguments(arguments, model: model, options: own, device: run.device)
  }

  private func parallelLayout(_ directory: HuggingFaceDirectory, _ arguments: MegatronArguments?) throws
    -> ParallelLayout
  {
    if layout.noPipelineParallel, let arguments, !arguments.isTrue("no_pipeline_parallel") {
      throw LayoutError.contradiction(option: "--no-pipeline-parallel", trainArgs: "otherwise")
    }
    return try ParallelLayout(
      tp: try resolve("--tp", layout.tp, arguments?.int("tensor_model_parallel_size"), 1),
      pp: try resolve("--pp", layout.pp, arguments?.int("pipeline_model_parallel_size"), 1),
      dp: try resolve("--dp", layout.dp, arguments?.dataParallelSize, 1),
      sp: try resolve("--sp", layout.sp, arguments?.int("ds_sequence_parallel_size"), 1),
      zeroStage: try resolve("--zero-stage", layout.zeroStage, arguments?.int("zero_stage"), 1),
      dtype: try parameterDType(
        directory, run: arguments.map { $0.isTrue("bf16") ? "bf16" : $0.isTrue("fp16") ? "fp16" : "fp32" }),
      engine: layout.noPipelineParallel || arguments?.isTrue("no_pipeline_parallel") == true
        ? .noPipeline : .pipeline)
  }

  /// An option, or what the run's command line says, or a default.
  private func resolve(_ name: String, _ option: Int?, _ run: Int?, _ otherwise: Int) throws(LayoutError)
    -> Int
  {
    try resolve(name, option, run) ?? otherwise
  }

  private func resolve<Value: Equatable>(_ name: String, _ option: Value?, _ run: Value?) throws(LayoutError)
    -> Value?
  {
    if let option, let run, option != run {
      throw .contradiction(option: "\(name) \(option)", trainArgs: "\(run)")
    }
    return option ?? run
  }

  /// What the run of a script or of HF Trainer trains in, where its arguments or its DeepSpeed configuration say.
  private func transformersDType(_ files: Files) -> String? {
    let arguments = files.trainer?.dtype
    return (files.configuration?.dtype(auto: arguments) ?? arguments)?.layoutWord
  }

  private func parameterDType(_ directory: HuggingFaceDirectory, run: String?) throws(LayoutError) -> DType {
    switch try resolve("--dtype", layout.dtype, run) {
    case "bf16": return .bfloat16
    case "fp16": return .float16
    case "fp32": return .float32
    case .some(let name): throw .dtype(name)
    case nil: return directory.dtype ?? .bfloat16
    }
  }
}

extension PaddedVocabulary.Filling: ExpressibleByArgument {}
extension AcceleratorKind: ExpressibleByArgument {}
extension Parameter.Masters: ExpressibleByArgument {}
