import ArgumentParser
import ZeroFS

/// `zerofs materialize`: the tree that a mount would serve, as files.
struct MaterializeCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "materialize",
    abstract: "Write the checkpoint of a model directory to disk.",
    discussion: """
      The same command goes on where a killed one stopped: files that are there are compared and kept. Several processes \
      share the work with --rank and --world; under mpiexec and srun they find both by themselves.
      """)

  @Argument(help: ArgumentHelp("A Hugging Face model directory.", valueName: "hf_dir"))
  var directory: String

  @Argument(help: ArgumentHelp("The directory to write. Made if it isn't there.", valueName: "out"))
  var target: String

  @OptionGroup
  var options: CheckpointOptions

  @Option(
    help: ArgumentHelp("Files written at a time. (default: the number of cores)", valueName: "n"))
  var jobs: Int?

  @Option(
    parsing: .upToNextOption,
    help: ArgumentHelp(
      "Only files that match one of the patterns, relative to the checkpoint: 'global_step0/layer_*'.",
      valueName: "glob"))
  var files: [String] = []

  @Option(help: ArgumentHelp("Which of --world processes this one is, from 0 on.", valueName: "i"))
  var rank: Int?

  @Option(help: ArgumentHelp("The number of processes that share the work.", valueName: "n"))
  var world: Int?

  @Flag(help: "Say what would be written and how long it would take; write nothing.")
  var dryRun = false

  @Flag(help: "Report as JSON, one object a line.")
  var json = false

  func validate() throws {
    if (rank == nil) != (world == nil) { throw ValidationError("--rank and --world go together.") }
    if let jobs, jobs < 1 { throw ValidationError("--jobs \(jobs): at least one.") }
  }

  func run() throws {
    try reporting {
      let source = try HuggingFaceDirectory(path: directory)
      let checkpoint = try options.checkpoint(of: source)
      warn(checkpoint.warnings)
      let origin = Manifest.Origin(
        zerofs: Zerofs.version, layout: checkpoint.layoutName.description, options: try options.recorded(),
        source: SourceReport(source))
      let writer = TreeWriter(
        checkpoint.tree(modified: source.modified), to: target, origin: origin, share: try share(),
        patterns: files)
      let work = try writer.work()
      let display = ProgressDisplay(json: json)
      if dryRun {
        display.plan(work, bytesPerSecond: try writer.rate(work, sample: 256 << 20))
        return
      }
      let progress = Progress(totalBytes: work.data)
      let isComplete = try display.showing(progress) {
        try writer.write(work, jobs: jobs ?? Workers.cores, progress)
      }
      display.finish(work, target: target, share: writer.share, isComplete: isComplete)
    }
  }

  private func share() throws -> Share {
    if let rank, let world { return try Share(rank: rank, world: world) }
    return try Share.launched() ?? .whole
  }
}
