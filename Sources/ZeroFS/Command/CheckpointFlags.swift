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
  var flavor: CheckpointOptions.Flavor?

  @Option(
    help: ArgumentHelp(
      "A checkout of Megatron-DeepSpeed, to find the flavor from.", valueName: "dir"))
  var megatron: String?

  @Option(
    help: ArgumentHelp(
      "With --flavor hf and trainer: the order of the parameters of a model family that zerofs doesn't know.",
      valueName: "file"))
  var parameterOrder: String?

  /// `--flavor`, or that of the checkout of `--megatron`.
  fileprivate func resolvedFlavor() throws -> CheckpointOptions.Flavor? {
    guard let megatron else { return flavor }
    let found = try MegatronFlavor(checkout: megatron)
    if let flavor, flavor.rawValue != found.rawValue {
      throw LayoutError.otherFlavor(option: flavor.rawValue, checkout: found.rawValue)
    }
    return CheckpointOptions.Flavor(rawValue: found.rawValue)
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
  var dtype: CheckpointOptions.Precision?

  @Flag(
    inversion: .prefixedNo,
    help:
      "Whether the run has the pipeline engine, or GPTModel without it. (default: it has, or as a checkpoint's run)"
  )
  var pipelineParallel: Bool?

  @Option(help: ArgumentHelp("As the run has it. (default: 128)", valueName: "n"))
  var makeVocabSizeDivisibleBy: Int?

  @Option(
    help: ArgumentHelp(
      "What padded vocabulary rows hold: zero or mean. (default: zero)", valueName: "filling"))
  var vocabPadding: PaddedVocabulary.Filling?

  @Option(
    help: ArgumentHelp(
      "The run's tokenizer, where it has more tokens than the model has rows: their rows are filled as --vocab-padding says.",
      valueName: "dir"))
  var tokenizer: String?

  @Flag(help: "Serve a tied model untied: its output layer starts as a copy of the embedding.")
  var untieEmbeddingsAndOutputWeights = false

  @Option(help: ArgumentHelp("The iteration that the checkpoint claims. (default: 0)", valueName: "n"))
  var iteration: Int?
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

  @Option(
    help: ArgumentHelp(
      "Where the run's generators are: cuda, xpu or cpu. (default: cuda)", valueName: "device"))
  var device: AcceleratorKind?

  @Option(help: ArgumentHelp("The run's optimizer: adam or adamw. (default: adam)", valueName: "name"))
  var optimizer: String?

  @Flag(
    name: [.customLong("ds-fused-adam"), .customLong("ds_fused_adam")], help: "The run has --ds_fused_adam.")
  var fusedAdam = false

  @Option(
    help: ArgumentHelp(
      "Adam's moments: none, as DeepSpeed saves at step 0, or zeros. (default: none)", valueName: "moments"))
  var moments: CheckpointOptions.Moments?

  @Option(
    help: ArgumentHelp(
      "fp32 masters: of the rounded parameters, as DeepSpeed makes them, or of the source. (default: parameters)",
      valueName: "masters"))
  var masters: Parameter.Masters?

  @Option(
    help: ArgumentHelp("As data_types.grad_accum_dtype of the DeepSpeed configuration.", valueName: "dtype"))
  var gradAccumDtype: CheckpointOptions.Precision?

  @Option(
    help: ArgumentHelp("As zero_optimization.sub_group_size of the DeepSpeed configuration.", valueName: "n"))
  var subGroupSize: Int?

  @Flag(help: "Serve a universal checkpoint, too, for a run with --universal-checkpoint.")
  var universalCheckpoint = false

  @Option(
    name: .customLong("extension"),
    help: ArgumentHelp(
      "A model that Megatron-DeepSpeed can't compute alone: guarded (a run without zerofs_megatron can't load it), unguarded, or "
        + "none (refused). (default: guarded)", valueName: "use"))
  var extensionUse: ExtensionUse?
}

/// What is asked of a checkpoint that a run saved.
struct TrainedOptions: ParsableArguments {
  @Option(
    name: .customLong("as"),
    help: ArgumentHelp(
      "Serve a trained checkpoint as a Hugging Face directory: hf. (default: as a checkpoint)",
      valueName: "view"))
  var view: CheckpointOptions.View?

  @Option(
    help: ArgumentHelp(
      "With --as hf: a directory with the model's config.json and tokenizer; weights aren't needed.",
      valueName: "hf_dir"))
  var like: String?

  @Option(
    help: ArgumentHelp(
      "With --as hf: the optimizer's fp32 masters, rounded once, the parameters as they are, or a state of the optimizer such "
        + "as exp_avg. (default: masters)",
      valueName: "weights"))
  var weights: HuggingFaceExport.Weights?

  @Flag(
    help: "With --as hf: leave out trained parameters that the model's Hugging Face files have no place for.")
  var drop = false

  @Option(
    help: ArgumentHelp("The directory of the step, instead of the one that `latest` names.", valueName: "tag")
  )
  var tag: String?

  @Flag(help: "Keep weights and the optimizer's state; iteration, schedule and samples start at 0.")
  var newStage = false
}

/// The command line's side of `CheckpointOptions`.
struct CheckpointFlags: ParsableArguments {
  @OptionGroup(title: "Layout")
  var layout: LayoutOptions

  @OptionGroup(title: "Run")
  var run: RunOptions

  @OptionGroup(title: "Trained checkpoint")
  var trained: TrainedOptions

  /// What the flags say; files that they name are read.
  ///
  /// - Throws: `RunError`, `LayoutError`, `MegatronFlavorError`.
  func options() throws -> CheckpointOptions {
    var options = CheckpointOptions()
    (options.view, options.weights, options.tag) = (trained.view, trained.weights, trained.tag)
    options.like = trained.like.map(absolutePath)
    options.drop = trained.drop ? true : nil
    options.newStage = trained.newStage ? true : nil
    options.flavor = try layout.resolvedFlavor()
    options.parameterOrder = try layout.parameterOrder.map {
      try NamedText(jsonOrFile: $0, option: "--parameter-order")
    }
    (options.tp, options.pp, options.dp, options.sp) = (layout.tp, layout.pp, layout.dp, layout.sp)
    (options.zeroStage, options.dtype) = (layout.zeroStage, layout.dtype)
    options.noPipelineParallel = layout.pipelineParallel.map { !$0 }
    options.makeVocabSizeDivisibleBy = layout.makeVocabSizeDivisibleBy
    options.vocabPadding = layout.vocabPadding
    options.tokens = try layout.tokenizer.map { try TokenizerFiles(directory: $0).tokens }
    options.untieEmbeddingsAndOutputWeights = layout.untieEmbeddingsAndOutputWeights ? true : nil
    options.iteration = layout.iteration
    options.trainArguments = try run.trainArguments.map { try recorded($0, options.flavor) }
    options.deepSpeedConfiguration = try run.deepSpeedConfiguration.map {
      try NamedText(jsonOrFile: $0, option: "--deepspeed-config")
    }
    options.deepSpeedVersion = run.deepspeedVersion
    (options.seed, options.device, options.optimizer) = (run.seed, run.device, run.optimizer)
    options.fusedAdam = run.fusedAdam ? true : nil
    (options.moments, options.masters) = (run.moments, run.masters)
    (options.gradAccumDtype, options.subGroupSize) = (run.gradAccumDtype, run.subGroupSize)
    options.universalCheckpoint = run.universalCheckpoint ? true : nil
    options.extensionUse = run.extensionUse
    return options
  }

  /// `--train-args`, with what of them the user should know.
  private func recorded(_ given: String, _ flavor: CheckpointOptions.Flavor?) throws -> NamedText {
    // A script of the user's own has a command line of its own.
    if flavor == .hf {
      throw LayoutError.notInFlavor(option: "--train-args", flavor: CheckpointOptions.Flavor.hf.rawValue)
    }
    let run =
      try flavor == .trainer
      ? TrainingArguments.recorded(textOrFile: given) : MegatronArguments.recorded(textOrFile: given)
    warn(run.notes)
    return NamedText(run.text, name: given)
  }
}

extension CheckpointOptions.View: ExpressibleByArgument {}
extension HuggingFaceExport.Weights: ExpressibleByArgument {}
extension CheckpointOptions.Flavor: ExpressibleByArgument {}
extension CheckpointOptions.Precision: ExpressibleByArgument {}
extension CheckpointOptions.Moments: ExpressibleByArgument {}
extension ExtensionUse: ExpressibleByArgument {}
extension PaddedVocabulary.Filling: ExpressibleByArgument {}
extension AcceleratorKind: ExpressibleByArgument {}
extension Parameter.Masters: ExpressibleByArgument {}
