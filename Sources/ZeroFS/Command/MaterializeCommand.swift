import ArgumentParser
import Bytes
import Checkpoints
import HuggingFace
import Store

/// `zerofs materialize`: the tree that a mount would serve, as files.
struct MaterializeCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "materialize",
    abstract: "Write the checkpoint of a model directory to disk.",
    discussion: """
      The same command goes on where a killed one stopped: files that are there are compared and kept. Several processes \
      share the work with --rank and --world; under mpiexec and srun they find both by themselves.

      With --compress the target is one file, a seekable zstd archive that `zerofs mount`, `plan` and `materialize` take in \
      place of a model directory. Under a launcher the process of rank 0 writes it.
      """)

  @Argument(help: ArgumentHelp("A Hugging Face model directory, or an archive of one.", valueName: "hf_dir"))
  var directory: String

  @Argument(
    help: ArgumentHelp("The directory to write, made if it isn't there; or the archive.", valueName: "out"))
  var target: String

  @OptionGroup
  var options: CheckpointFlags

  @OptionGroup
  var sourceOptions: SourceOptions

  @Option(
    help: ArgumentHelp(
      "Files written at a time. (default: 2 for each core; of an archive, frames: 1 for each core)",
      valueName: "n"))
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

  @Option(
    help: ArgumentHelp(
      "Write an archive: zstd, or zstd:LEVEL to try that level, too, and keep the smaller frames.",
      valueName: "zstd[:level]"))
  var compress: Compression?

  @Flag(help: "Say what would be written and how long it would take; write nothing.")
  var dryRun = false

  @Flag(help: "Report as JSON, one object a line.")
  var json = false

  /// The value of `--compress`.
  struct Compression: ExpressibleByArgument {
    let level: Int?

    init?(argument: String) {
      let parts = argument.split(separator: ":", omittingEmptySubsequences: false)
      guard parts[0] == "zstd", parts.count <= 2 else { return nil }
      level = parts.count == 2 ? Int(parts[1]) : nil
      if parts.count == 2 && level == nil { return nil }
    }
  }

  func validate() throws {
    if (rank == nil) != (world == nil) { throw ValidationError("--rank and --world go together.") }
    if let jobs, jobs < 1 { throw ValidationError("--jobs \(jobs): at least one.") }
    if compress == nil && target.hasSuffix(".zarc") {
      throw ValidationError(
        "\(target) is the name of an archive: give --compress zstd, or another name for a directory.")
    }
    if compress != nil && (rank != nil || !files.isEmpty) {
      throw ValidationError("--compress makes one file of all: --rank, --world and --files don't go with it.")
    }
  }

  func run() throws {
    try reporting {
      let model = try ModelSource(path: directory, sourceOptions)
      let planner = try model.planner(options)
      let checkpoint = try planner.checkpoint()
      warn(checkpoint.warnings)
      let tree = checkpoint.tree(modified: model.directory.modified)
      let origin = Manifest.Origin(
        zerofs: Zerofs.version, layout: checkpoint.layoutName.description, options: planner.recorded,
        source: SourceReport(model.directory))
      if let compress {
        let rank = try share().rank
        guard rank == 0 else {
          return warn(["an archive is one file, which rank 0 writes: nothing to do for rank \(rank)"])
        }
        try write(ArchiveWriter(model.directory, tree, to: target, origin: origin, level: compress.level))
      } else {
        try write(TreeWriter(tree, to: target, origin: origin, share: try share(), patterns: files))
      }
    }
  }

  private func write(_ writer: TreeWriter) throws {
    let work = try writer.work()
    let display = ProgressDisplay(json: json)
    let summary = ProgressDisplay.Summary(
      target: target, files: work.files, bytes: work.size, dataBytes: work.data, keptFiles: work.existing)
    if dryRun { return display.plan(summary, bytesPerSecond: try writer.rate(work, sample: 256 << 20)) }
    let progress = ByteProgress(totalBytes: work.data)
    let isComplete = try display.showing(progress) {
      // Half of them wait for the disk: each is synced.
      try writer.write(work, jobs: jobs ?? 2 * Workers.cores, progress)
    }
    display.finish(summary, isComplete: isComplete)
  }

  private func write(_ writer: ArchiveWriter) throws {
    let display = ProgressDisplay(json: json)
    if dryRun {
      let estimate = try writer.estimate()
      let summary = ProgressDisplay.Summary(
        target: target, files: 1, bytes: estimate.bytes, dataBytes: writer.sourceBytes,
        treeBytes: writer.treeBytes)
      return display.plan(summary, bytesPerSecond: estimate.bytesPerSecond * Double(jobs ?? Workers.cores))
    }
    let progress = ByteProgress(totalBytes: writer.sourceBytes)
    let (size, isKept) = try display.showing(progress) {
      if let size = try writer.existing(progress) { return (size, true) }
      return (try writer.write(jobs: jobs ?? Workers.cores, progress), false)
    }
    display.finish(
      ProgressDisplay.Summary(
        target: target, files: 1, bytes: size, dataBytes: writer.sourceBytes, keptFiles: isKept ? 1 : 0,
        treeBytes: writer.treeBytes), isComplete: true)
  }

  private func share() throws -> Share {
    if let rank, let world { return try Share(rank: rank, world: world) }
    return try Share.launched() ?? .whole
  }
}
