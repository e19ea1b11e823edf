import ArgumentParser
import Bytes
import Checkpoints
import Glibc
import HuggingFace
import Mount
import Store

struct MountCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "mount",
    abstract: "Mount the checkpoint of a model directory.",
    discussion: """
      Returns when the mount is readable; a daemon serves it until `zerofs umount`, umount(8), or SIGTERM, SIGINT or \
      SIGHUP. Changed source files are not served: reads of them fail with an I/O error.

      The mount holds other layouts, too: a directory below it whose name spells one, such as tp2-pp4-dp8-zero1-bf16 or \
      dp12-zero3-nopipe, is that checkpoint. .zerofs holds reports.
      """)

  /// The daemon keeps about two kilobytes for each rank's files, before anybody looks at them.
  private static let maxRanks = 1 << 20

  @Argument(
    help:
      "The Hugging Face model directory, an archive that `zerofs materialize --compress` made, or a checkpoint that a run saved."
  )
  var hfDir: String

  @Argument(help: "An empty directory.")
  var mountpoint: String

  @OptionGroup
  var options: CheckpointFlags

  @OptionGroup
  var sourceOptions: SourceOptions

  @Flag(name: [.short, .long], help: "Serve in this process; log to stderr.")
  var foreground = false

  @Flag(
    help:
      "Keep file contents in the page cache: slower, but repeated reads of a memory mapping come from memory."
  )
  var cached = false

  @Option(name: .customShort("o"), help: "Mount options, as for mount(8): allow_other, noexec, …")
  var mountOptions: [String] = []

  @Option(help: ArgumentHelp("Log there instead of to syslog.", valueName: "path"))
  var logFile: String?

  func run() throws {
    try reporting {
      // The daemon leaves the working directory, and verifies sources by their paths.
      let source = absolutePath(hfDir)
      let mountOptions = self.mountOptions.flatMap { $0.utf8.split(separator: UInt8(ascii: ",")) }
        .map { String(Substring($0)) }
      let mountpoint = try Mountpoint(
        mountpoint, options: mountOptions, logger: LogDestination.standardError.logger())
      let model = try ModelSource(path: source, options, sourceOptions)
      let planner = try model.planner()
      let recorded = planner.recorded
      let served = try planner.served()
      guard served.ranks <= MountCommand.maxRanks else {
        throw MountError.tooManyRanks(count: served.ranks, allowed: MountCommand.maxRanks)
      }
      warn(served.warnings)
      var mount = MountOptions(source: source, isForeground: foreground, logFile: logFile)
      // safetensors files are mapped, and mappings want the page cache.
      mount.isCached = cached || served is HuggingFaceExport
      mount.options = mountOptions
      mount.sourceBytes = model.source.bytes
      mount.layouts = CheckpointResolver(planner: planner).layouts
      mount.reports = [
        FileTree.Entry("plan.json") {
          VirtualFile(planReport(served, modified: model.source.modified).json + "\n")
        },
        FileTree.Entry(Manifest.Origin.reportName, isVolatile: true) {
          VirtualFile(
            Manifest.Origin(
              zerofs: Zerofs.version, layout: served.layoutName.description, options: recorded,
              source: model.source.report
            ).json + "\n")
        },
        FileTree.Entry("source.json", isVolatile: true) { VirtualFile(model.source.report.json + "\n") },
        FileTree.Entry("version") { VirtualFile("\(Zerofs.version)\n") },
      ]
      try served.tree(modified: model.source.modified).mount(at: mountpoint, mount)
    }
  }
}

/// `path` without symbolic links; as it is where there is no such file, for the message of whoever opens it.
func absolutePath(_ path: String) -> String {
  guard let resolved = realpath(path, nil) else { return path }
  defer { free(resolved) }
  return String(cString: resolved)
}
