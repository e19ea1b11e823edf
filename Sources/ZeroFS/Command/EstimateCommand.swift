import ArgumentParser
import Bytes
import Checkpoints

/// `zerofs estimate`: DeepSpeed's own table of the memory that a model's states need, without the model in memory.
struct EstimateCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "estimate",
    abstract: "Print the memory that DeepSpeed says a model's states need.",
    discussion: """
      The tables of estimate_zero2_model_states_mem_needs_all_live and estimate_zero3_model_states_mem_needs_all_live, number \
      for number, from the headers of the model's files.
      """)

  @Argument(help: ArgumentHelp("A Hugging Face model directory, or an archive of one.", valueName: "hf_dir"))
  var directory: String

  @OptionGroup
  var sourceOptions: SourceOptions

  @Option(help: ArgumentHelp("GPUs of a node.", valueName: "n"))
  var gpusPerNode = 1

  @Option(help: ArgumentHelp("Nodes.", valueName: "n"))
  var nodes = 1

  @Option(help: ArgumentHelp("ZeRO stage: 2 or 3. (default: both)", valueName: "stage"))
  var zeroStage: Int?

  @Option(
    help: ArgumentHelp("How transformers loads it: AutoModel or AutoModelForCausalLM.", valueName: "class"))
  var loading: MemoryEstimate.Loading = .causalLM

  func validate() throws {
    let allowed = 1...(1 << 20)
    guard allowed.contains(nodes), allowed.contains(gpusPerNode) else {
      throw ValidationError("--nodes and --gpus-per-node take numbers from 1 to \(allowed.upperBound).")
    }
    guard zeroStage == nil || (2...3).contains(zeroStage ?? 0) else {
      throw ValidationError("--zero-stage \(zeroStage ?? 0): DeepSpeed has estimates for stages 2 and 3.")
    }
  }

  func run() throws {
    try reporting {
      let model = try ModelSource(path: directory, CheckpointOptions(), sourceOptions)
      let estimate = try MemoryEstimate(
        try model.directory(for: "zerofs estimate"), loading, nodes: nodes, gpusPerNode: gpusPerNode)
      for stage in [2, 3] where zeroStage ?? stage == stage { print(estimate.text(stage: stage)) }
    }
  }
}

extension MemoryEstimate.Loading: ExpressibleByArgument {}
