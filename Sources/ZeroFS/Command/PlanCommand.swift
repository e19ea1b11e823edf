import ArgumentParser
import Checkpoints
import HuggingFace

/// `zerofs plan`: what a mount would serve.
struct PlanCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "plan",
    abstract:
      "Show the checkpoint's files with their sizes, the bytes of each rank, and warnings. Mounts nothing.")

  @OptionGroup
  var source: SourceArguments

  @Flag(help: "Every file in a line of its own.")
  var files = false

  @Flag(help: "What the nodes of a run read from the model's file system while all their ranks load.")
  var reads = false

  @Option(help: ArgumentHelp("With --reads: ranks of a node.", valueName: "n"))
  var ranksPerNode = 12

  @Option(help: ArgumentHelp("Draw what each rank reads, as SVG.", valueName: "file"))
  var picture: String?

  @Flag(help: "Print JSON.")
  var json = false

  func validate() throws {
    if ranksPerNode < 1 { throw ValidationError("--ranks-per-node \(ranksPerNode): 1 or more.") }
  }

  func run() throws {
    try reporting {
      let model = try source.model()
      let served = try model.planner().served()
      if reads {
        guard let checkpoint = served as? Checkpoint else {
          throw TrainedError.option("--reads", why: "a Hugging Face directory has no ranks")
        }
        let report = ReadReport(
          checkpoint, ranksPerNode: ranksPerNode, modified: model.source.modified)
        return try output(json ? report.json : report.text)
      }
      if let picture {
        guard let checkpoint = served as? Checkpoint else {
          throw TrainedError.option("--picture", why: "a Hugging Face directory has no ranks")
        }
        try output(PlanReport(checkpoint).picture, to: picture)
      }
      let report = served.report(modified: model.source.modified)
      if json {
        try output(report.json)
      } else {
        try output(files ? report.textOfAllFiles : report.text)
        warn(report.warnings)
      }
    }
  }
}
