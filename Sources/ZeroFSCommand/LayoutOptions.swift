import ArgumentParser
import ZeroFS

/// The layout of a checkpoint: short names, and MDS's own.
struct LayoutOptions: ParsableArguments {
  @Option(
    name: [.customLong("tp"), .customLong("tensor-model-parallel-size")],
    help: ArgumentHelp("Tensor-parallel ranks.", valueName: "n"))
  var tp = 1

  @Option(
    name: [.customLong("pp"), .customLong("pipeline-model-parallel-size")],
    help: ArgumentHelp("Pipeline stages.", valueName: "n"))
  var pp = 1

  @Option(help: ArgumentHelp("Data-parallel ranks.", valueName: "n"))
  var dp = 1

  @Option(help: ArgumentHelp("ZeRO stage: 0, 1 or 2.", valueName: "stage"))
  var zeroStage = 1

  @Option(help: ArgumentHelp("Parameters in bf16, fp16 or fp32 (default: the model's own).", valueName: "dtype"))
  var dtype: String?

  @Flag(help: "The run has --no-pipeline-parallel: GPTModel instead of the pipeline engine.")
  var noPipelineParallel = false

  @Option(help: ArgumentHelp("As the run has it.", valueName: "n"))
  var makeVocabSizeDivisibleBy = 128

  @Option(help: ArgumentHelp("The iteration that the checkpoint claims.", valueName: "n"))
  var iteration = 0

  @Option(help: ArgumentHelp("What padded vocabulary rows hold: zero or mean.", valueName: "filling"))
  var vocabPadding: PaddedVocabulary.Filling = .zero

  @Flag(help: "Serve a tied model untied: its output layer starts as a copy of the embedding.")
  var untieEmbeddingsAndOutputWeights = false

  @Option(
    name: [.customLong("deepspeed-config"), .customLong("deepspeed_config")],
    help: ArgumentHelp("The run's DeepSpeed configuration, a JSON file.", valueName: "file"))
  var deepSpeedConfiguration: String?

  /// The checkpoint of the model in `directory`. Reads headers, no tensor data.
  func checkpoint(of directory: HuggingFaceDirectory) throws -> Checkpoint {
    let layout = try ParallelLayout(
      tp: tp, pp: pp, dp: dp, zeroStage: zeroStage, dtype: try parameterDType(directory),
      engine: noPipelineParallel ? .noPipeline : .pipeline)
    let model = try MegatronModel(
      directory, layout: layout, vocabularyDivisor: makeVocabSizeDivisibleBy, vocabularyFilling: vocabPadding,
      untie: untieEmbeddingsAndOutputWeights)
    let configuration = try deepSpeedConfiguration.map { try DeepSpeedConfiguration(path: $0) } ?? DeepSpeedConfiguration()
    return try Checkpoint(model, iteration: iteration, configuration: configuration)
  }

  private func parameterDType(_ directory: HuggingFaceDirectory) throws(LayoutError) -> DType {
    switch dtype {
    case "bf16": .bfloat16
    case "fp16": .float16
    case "fp32": .float32
    case .some(let name): throw .dtype(name)
    case nil: directory.configuration.dtype ?? .bfloat16
    }
  }
}

extension PaddedVocabulary.Filling: ExpressibleByArgument {}
