import ArgumentParser
import Checkpoints
import HuggingFace

/// `zerofs plan`: what a mount would serve.
struct PlanCommand: CheckpointCommand {
  static let configuration = CommandConfiguration(
    commandName: "plan",
    abstract:
      "Show the checkpoint's files with their sizes, the bytes of each rank, and warnings. Mounts nothing.")

  @Argument(help: ArgumentHelp("A Hugging Face model directory, or an archive of one.", valueName: "hf_dir"))
  var directory: String

  @OptionGroup
  var options: CheckpointOptions

  @Flag(help: "Print JSON.")
  var json = false

  func run() throws {
    try reporting {
      let source = try ModelSource(path: directory)
      let checkpoint = try source.options(of: self).checkpoint(of: source.directory)
      let report = PlanReport(checkpoint, modified: source.directory.modified)
      if json {
        try output(report.json)
      } else {
        try output(report.text)
        warn(report.warnings)
      }
    }
  }
}
