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
      The same command goes on where a killed one stopped: files that are there are compared and kept.

      Several processes share the work with --rank and --world; under mpiexec and srun they find both in the launcher's \
      variables (PALS, PMI, Open MPI, Slurm), and say so. The last one writes the manifest. A shell inherits such variables, too: \
      a process that finished its share by them waits for a sign of the other ranks (--patience), and ends with status 14 where \
      there is none. Shells of srun --pty, salloc and sbatch aren't taken for ranks. --rank 0 --world 1 writes all of the tree \
      whatever the variables say.

      With --compress the target is one file, a seekable zstd archive that `zerofs mount`, `plan` and `materialize` take in \
      place of a model directory. Under a launcher the process of rank 0 writes it.
      """)

  @OptionGroup
  var source: SourceArguments

  @Argument(
    help: ArgumentHelp("The directory to write, made if it isn't there; or the archive.", valueName: "out"))
  var target: String

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
      "How long to wait for a sign of a launcher's other ranks before the tree counts as incomplete.",
      valueName: "seconds"))
  var patience = 60

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
    try Command.validate(jobs: jobs)
    guard (0...86400).contains(patience) else {
      throw ValidationError("--patience \(patience): from 0 to 86400 seconds.")
    }
    if let level = compress?.level, !Zstd.levels.contains(level) {
      throw ValidationError(
        "--compress zstd:\(level): zstd has levels \(Zstd.levels.lowerBound) to \(Zstd.levels.upperBound).")
    }
    if compress == nil && target.hasSuffix(".zarc") {
      throw ValidationError(
        "\(target) is the name of an archive: give --compress zstd, or another name for a directory.")
    }
    if compress != nil && (world ?? 1 != 1 || !files.isEmpty) {
      throw ValidationError("--compress makes one file of all: --rank, --world and --files don't go with it.")
    }
  }

  func run() throws {
    try reporting {
      let model = try source.model()
      let planner = try model.planner()
      let served = try planner.served()
      let tree = served.writtenTree(modified: model.source.modified)
      let origin = Manifest.Origin(
        zerofs: Zerofs.version, layout: served.layoutName.description, options: planner.recorded,
        source: model.source.report)
      let launched = try rank == nil ? LaunchedShare.find() : nil
      let display = ProgressDisplay(json: json)
      if let launched { try display.begin(launched, target: target) }
      warn(served.warnings)
      if let compress {
        if let launched, launched.share.rank != 0 { return try leaveArchive(to: launched) }
        try write(
          ArchiveWriter(
            try model.directory(for: "--compress"), tree, to: target, origin: origin, level: compress.level),
          display)
      } else {
        let share = try launched?.share ?? Share(rank: rank ?? 0, world: world ?? 1)
        let writer = TreeWriter(tree, to: target, origin: origin, share: share, patterns: files)
        try write(writer, launched, display)
      }
    }
  }

  private func write(_ writer: TreeWriter, _ launched: LaunchedShare?, _ display: ProgressDisplay) throws {
    let work = try writer.work()
    let summary = ProgressDisplay.Summary(
      target: target, files: work.files, bytes: work.size, dataBytes: work.data, keptFiles: work.existing)
    if dryRun { return try display.plan(summary, bytesPerSecond: try writer.rate(work, sample: 256 << 20)) }
    let progress = ByteProgress(totalBytes: work.data)
    let outcome = try display.showing(progress) {
      // Half of them wait for the disk: each is synced.
      try writer.write(
        work, jobs: jobs ?? 2 * Workers.cores, patience: launched == nil ? 0 : Double(patience), progress)
    }
    try display.finish(summary, isComplete: outcome == .complete)
    // Who asked for a share has it.
    if case .waiting(let unseen) = outcome, let launched, !unseen.isEmpty {
      throw TargetError.partial(path: target, launched, unseen: unseen)
    }
  }

  /// An archive is one file, which rank 0 writes: where that one runs, the file or its beginning is there.
  private func leaveArchive(to launched: LaunchedShare) throws {
    warn(["an archive is one file, which rank 0 writes: nothing to do for rank \(launched.share.rank)"])
    if !dryRun, !ArchiveWriter.isBegun(target, after: Double(patience)) {
      throw TargetError.partial(path: target, launched, unseen: [0])
    }
  }

  private func write(_ writer: ArchiveWriter, _ display: ProgressDisplay) throws {
    if dryRun {
      let estimate = try writer.estimate()
      let summary = ProgressDisplay.Summary(
        target: target, files: 1, bytes: estimate.bytes, dataBytes: writer.sourceBytes,
        treeBytes: writer.treeBytes)
      return try display.plan(
        summary, bytesPerSecond: estimate.bytesPerSecond * Double(jobs ?? Workers.cores))
    }
    let progress = ByteProgress(totalBytes: writer.sourceBytes)
    let (size, isKept) = try display.showing(progress) {
      if let size = try writer.existing(progress) { return (size, true) }
      return (try writer.write(jobs: jobs ?? Workers.cores, progress), false)
    }
    try display.finish(
      ProgressDisplay.Summary(
        target: target, files: 1, bytes: size, dataBytes: writer.sourceBytes, keptFiles: isKept ? 1 : 0,
        treeBytes: writer.treeBytes), isComplete: true)
  }
}
