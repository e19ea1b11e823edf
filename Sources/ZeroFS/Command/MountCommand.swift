import ArgumentParser
import Bytes
import Checkpoints
import Mount

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

  @OptionGroup
  var source: SourceArguments

  @Argument(help: "An empty directory.")
  var mountpoint: String

  @Flag(name: [.short, .long], help: "Serve in this process; log to stderr.")
  var foreground = false

  @Flag(
    help:
      "Keep file contents in the page cache: slower, but repeated reads of a memory mapping come from memory."
  )
  var cached = false

  @Option(
    name: .customShort("o"),
    help: "Mount options, as for mount(8): allow_other, noexec, …; the options here, too: tp=2,cached.")
  var mountOptions: [String] = []

  @Option(help: ArgumentHelp("Log there instead of to syslog.", valueName: "path"))
  var logFile: String?

  @Option(
    help: ArgumentHelp(
      "Read what these ranks of the layout need into the page cache first: 'all', or those of this node, such as 0-11.",
      valueName: "ranks"))
  var warm: Ranks?

  func run() throws {
    try reporting {
      // The daemon leaves the working directory, and verifies sources by their paths.
      let path = absolutePath(source.path)
      let mountOptions = self.mountOptions.flatMap { $0.utf8.split(separator: UInt8(ascii: ",")) }
        .map { String(Substring($0)) }
      let mountpoint = try Mountpoint(
        mountpoint, options: mountOptions, logger: LogDestination.standardError.logger())
      let plan = try PlannedMount(source.model(at: path).planner())
      warn(plan.served.warnings)
      if let warm { try plan.warm(warm) }
      var mount = MountOptions(source: path, isForeground: foreground, logFile: logFile)
      mount.isCached = cached
      mount.options = mountOptions
      try plan.mount(at: mountpoint, mount)
    }
  }
}
