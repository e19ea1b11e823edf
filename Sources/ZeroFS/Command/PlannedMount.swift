import Bytes
import Checkpoints
import Glibc
import HuggingFace
import Mount
import Store

/// A checkpoint with all that a mount of it serves.
struct PlannedMount {
  /// The daemon keeps about two kilobytes for each rank's files, before anybody looks at them.
  private static let maxRanks = 1 << 20

  let checkpoint: Checkpoint
  let planner: CheckpointPlanner

  /// - Throws: what `CheckpointPlanner.checkpoint()` throws; `MountError` for more ranks than a mount has room for.
  init(_ planner: CheckpointPlanner) throws {
    self.planner = planner
    checkpoint = try planner.checkpoint()
    let ranks = checkpoint.layout.worldSize
    guard ranks <= PlannedMount.maxRanks else {
      throw MountError.tooManyRanks(count: ranks, allowed: PlannedMount.maxRanks)
    }
  }

  /// What the mount says of where it is from.
  private var origin: Manifest.Origin {
    Manifest.Origin(
      zerofs: Zerofs.version, layout: checkpoint.layoutName.description, options: planner.recorded,
      source: SourceReport(planner.directory))
  }

  /// Of mounts that serve the same: sources and everything that decides what of them is served.
  var identity: String { origin.json }

  /// Returns as `FileTree.mount`: in the daemon, too, once it is unmounted.
  func mount(at mountpoint: Mountpoint, _ options: MountOptions) throws(MountError) {
    let directory = planner.directory
    var mount = options
    mount.sourceBytes = (directory.descriptions + directory.files).reduce(0) { $0 + $1.size }
    mount.layouts = CheckpointResolver(planner: planner).layouts
    mount.reports =
      checkpoint.companions + [
        FileTree.Entry("plan.json") { [checkpoint] in
          VirtualFile(PlanReport(checkpoint, modified: directory.modified).json + "\n")
        },
        FileTree.Entry(Manifest.Origin.reportName, isVolatile: true) { [self] in
          VirtualFile(origin.json + "\n")
        },
        FileTree.Entry("source.json", isVolatile: true) { VirtualFile(SourceReport(directory).json + "\n") },
        FileTree.Entry("version") { VirtualFile("\(Zerofs.version)\n") },
      ]
    try checkpoint.tree(modified: directory.modified).mount(at: mountpoint, mount)
  }
}

/// `path` without symbolic links; as it is where there is no such file, for the message of whoever opens it.
func absolutePath(_ path: String) -> String {
  guard let resolved = realpath(path, nil) else { return path }
  defer { free(resolved) }
  return String(cString: resolved)
}
