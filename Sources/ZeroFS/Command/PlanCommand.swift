import ArgumentParser
import Checkpoints
import HuggingFace

/// `zerofs plan`: what a mount would serve.
struct PlanCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "plan",
    abstract:
      "Show the checkpoint's files with their sizes, the bytes of each rank, and warnings. Mounts nothing.")

  @Argument(
    help: ArgumentHelp(
      "A Hugging Face model directory, an archive of one, or a checkpoint.", valueName: "source"))
  var directory: String

  @OptionGroup
  var options: CheckpointFlags

  @OptionGroup
  var sourceOptions: SourceOptions

  @Flag(help: "Every file in a line of its own.")
  var files = false

  @Flag(help: "Print JSON.")
  var json = false

  func run() throws {
    try reporting {
      let source = try ModelSource(path: directory, options, sourceOptions)
      let report = planReport(try source.planner().served(), modified: source.source.modified)
      if json {
        try output(report.json)
      } else {
        try output(files ? report.textOfAllFiles : report.text)
        warn(report.warnings)
      }
    }
  }
}
