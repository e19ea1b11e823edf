import ArgumentParser
import Bytes
import Checkpoints

/// `zerofs args`: what a model and its layout decide of MDS's command line.
struct ArgsCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "args",
    abstract: "Print the arguments of Megatron-DeepSpeed that a model and a layout need.",
    discussion: """
      One argument with its values a line, with what goes wrong without it behind #: stops, loss (it trains another model), \
      choice (it trains this one from a higher loss). What is MDS's default isn't printed. The file that holds the output is \
      what --train-args, `zerofs check` and xargs take.
      """)

  @OptionGroup
  var source: SourceArguments

  @Option(
    help: ArgumentHelp(
      "lines, shell (an array of bash), helpers (variables of ALCF's helpers.sh), finetune (edits of its finetune_llama.sh), or json.",
      valueName: "format"))
  var format: MegatronCommandLine.Format = .lines

  @Option(help: ArgumentHelp("Write DeepSpeed's configuration there, and name it.", valueName: "file"))
  var deepspeedConfigOut: String?

  @Option(help: ArgumentHelp("Sequences of a micro-batch, for that configuration.", valueName: "n"))
  var microBatchSize = 1

  func validate() throws {
    guard (1...1 << 16).contains(microBatchSize) else {
      throw ValidationError("--micro-batch-size \(microBatchSize): a number from 1 to \(1 << 16).")
    }
  }

  func run() throws {
    try reporting {
      let planner = try source.model().planner()
      let line = try planner.commandLine(deepspeedConfigOut.map { ($0, microBatchSize) })
      if let path = deepspeedConfigOut {
        try output(line.deepSpeedConfiguration(microBatchSize: microBatchSize), to: path)
      }
      try output(line.text(format))
    }
  }
}

extension MegatronCommandLine.Format: ExpressibleByArgument {}
