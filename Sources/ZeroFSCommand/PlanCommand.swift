import ArgumentParser
import ZeroFS

/// `zerofs plan`: what a mount would serve.
struct PlanCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "plan",
    abstract:
      "Show the checkpoint's files with their sizes, the bytes of each rank, and warnings. Mounts nothing.")

  @Argument(help: ArgumentHelp("A Hugging Face model directory.", valueName: "hf_dir"))
  var directory: String

  @OptionGroup
  var options: CheckpointOptions

  @Flag(help: "Print JSON.")
  var json = false

  func run() throws {
    try reporting {
      let source = try HuggingFaceDirectory(path: directory)
      let report = PlanReport(try options.checkpoint(of: source), modified: source.modified)
      if json {
        print(report.json)
      } else {
        print(report.text)
        warn(report.warnings)
      }
    }
  }
}
