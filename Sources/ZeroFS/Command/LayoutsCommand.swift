import ArgumentParser
import Bytes
import Checkpoints

/// `zerofs layouts`: which layouts fit.
struct LayoutsCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "layouts",
    abstract: "List the layouts that a model can have on a number of GPUs and that fit, best first.",
    discussion: "In the order of: \(LayoutSearch.reason).")

  @Argument(help: ArgumentHelp("A Hugging Face model directory, or an archive of one.", valueName: "hf_dir"))
  var directory: String

  @OptionGroup
  var sourceOptions: SourceOptions

  @Option(
    help: ArgumentHelp(
      "Of a checkpoint of transformers' model: a directory with its config.json.", valueName: "hf_dir"))
  var like: String?

  @Option(
    help: ArgumentHelp(
      "Of a checkpoint: the directory of the step, instead of the one that `latest` names.",
      valueName: "tag"))
  var tag: String?

  @Option(help: ArgumentHelp("GPUs of the run.", valueName: "n"))
  var gpus: Int

  @Option(help: ArgumentHelp("GPUs of a node. (default: all)", valueName: "n"))
  var gpusPerNode: Int?

  @Option(help: ArgumentHelp("Memory of a GPU: 64GB, 40GiB.", valueName: "size"))
  var memory: ByteSize

  @Option(
    help: ArgumentHelp("Parameters in bf16, fp16 or fp32. (default: the model's own)", valueName: "dtype"))
  var dtype: CheckpointOptions.Precision?

  @Option(help: ArgumentHelp("Sequences of a micro-batch.", valueName: "n"))
  var microBatchSize = 1

  @Option(help: ArgumentHelp("Tokens of a sequence.", valueName: "n"))
  var seqLength = 4096

  @Option(help: ArgumentHelp("Micro-batches of a step on each data-parallel rank.", valueName: "n"))
  var microBatches = 8

  @Flag(help: "Activations aren't recomputed (no --checkpoint-activations).")
  var noCheckpointActivations = false

  @Flag(help: "Attention keeps its scores (no --use-flash-attn-v2 or its like).")
  var noFlashAttention = false

  @Flag(help: "Those that aren't possible or don't fit, too, with the reason.")
  var all = false

  /// Bytes: a number with a unit.
  struct ByteSize: ExpressibleByArgument {
    let bytes: Int

    init?(argument: String) {
      let digits = argument.prefix { $0.isNumber || $0 == "." }
      let units = ["": 1, "GB": 1e9, "G": 1e9, "GiB": 1_073_741_824, "MB": 1e6, "TB": 1e12]
      guard let number = Double(digits), let unit = units[String(argument.dropFirst(digits.count))],
        number > 0, number * unit < 1e15
      else { return nil }
      bytes = Int(number * unit)
    }
  }

  func validate() throws {
    for (name, value, limit) in [
      ("--gpus", gpus, 1 << 20), ("--gpus-per-node", gpusPerNode ?? 1, 1 << 20),
      ("--micro-batch-size", microBatchSize, 1 << 16), ("--seq-length", seqLength, 1 << 24),
      ("--micro-batches", microBatches, 1 << 16),
    ] where !(1...limit).contains(value) {
      throw ValidationError("\(name) \(value): a number from 1 to \(limit).")
    }
  }

  func run() throws {
    try reporting {
      var options = CheckpointOptions()
      options.like = like.map(absolutePath)
      options.tag = tag
      let model = try ModelSource(path: directory, options, sourceOptions)
      let search = try LayoutSearch(
        try model.planner(),
        .init(
          gpus: gpus, gpusPerNode: gpusPerNode ?? gpus, memory: memory.bytes, dtype: dtype?.dtype,
          batch: .init(
            microBatchSize: microBatchSize, sequenceLength: seqLength, recomputes: !noCheckpointActivations,
            hasFlashAttention: !noFlashAttention),
          microBatches: microBatches))
      if search.possible.isEmpty {
        print("no layout of \(gpus) GPUs fits \(memory.bytes.bytesText): more GPUs, or --all for the reasons")
      }
      for candidate in search.possible { print(line(candidate)) }
      guard all else { return }
      for (layout, why) in search.impossible { print("not \(layout): \(why)") }
    }
  }

  private func line(_ candidate: LayoutSearch.Candidate) -> String {
    let layout = candidate.layout
    let words =
      [
        "--tp \(layout.tp)", "--pp \(layout.pp)", "--dp \(layout.dp)", "--zero-stage \(layout.zeroStage)",
      ] + (layout.engine == .noPipeline ? ["--no-pipeline-parallel"] : [])
    let bubble = layout.pp > 1 ? ", \(Int((candidate.bubble * 100).rounded())) % bubbles" : ""
    let node = gpusPerNode.map { layout.tp > $0 } == true ? ", TP leaves the node" : ""
    return "\(words.joined(separator: " ")): \(candidate.memory.total.bytesText) of each GPU\(bubble)\(node)"
  }
}
