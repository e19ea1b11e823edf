import ArgumentParser
import Bytes
import Checkpoints
import Glibc
import HuggingFace
import Store

/// `zerofs warm`: the page cache filled before a run starts.
struct WarmCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "warm",
    abstract: "Read what ranks of this node need of a model into the page cache.",
    discussion: """
      Many reads at a time, so that a slow file system gives what it can. Run it on each node before the training starts, or \
      give --warm to `zerofs mount`. What is in memory already is gone through quickly. More than fits in the memory that \
      programs leave free is forgotten again.
      """)

  @Argument(
    help: ArgumentHelp(
      "A mount, or a Hugging Face model directory (or an archive of one).", valueName: "source"))
  var source: String

  @OptionGroup
  var options: CheckpointFlags

  @OptionGroup
  var sourceOptions: SourceOptions

  @Option(
    help: ArgumentHelp("Of the layout: 'all', or those of this node, such as 0-11.", valueName: "ranks"))
  var ranks = Ranks.all

  func run() throws {
    try reporting {
      let origin = try Manifest.Origin.ofMount(source)
      let given = try options.options()
      let model = try ModelSource(
        path: origin?.source.path ?? source, origin.map { given.over($0.options) } ?? given, sourceOptions)
      let planner = try model.planner()
      let start = ContinuousClock.now
      let warming = try planner.checkpoint().warm(ranks, model.directory(for: "zerofs warm"))
      let seconds = Swift.max((ContinuousClock.now - start) / .seconds(1), 1e-3)
      try output(
        "\(source): \(warming.bytes.bytesText) of the model read, \(Int(Double(warming.bytes) / seconds).bytesText)/s"
      )
    }
  }
}
