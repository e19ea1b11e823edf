import Bytes
import Checkpoints
import Glibc
import HuggingFace
import Mount
import Store

/// A checkpoint, or a Hugging Face directory, with all that a mount of it serves.
struct PlannedMount {
  let served: any ServedTree
  let planner: CheckpointPlanner

  /// - Throws: what `CheckpointPlanner.served()` throws.
  init(_ planner: CheckpointPlanner) throws {
    self.planner = planner
    served = try planner.served()
  }

  /// What the mount says of where it is from.
  private var origin: Manifest.Origin {
    Manifest.Origin(
      zerofs: Zerofs.version, layout: served.layoutName.description, options: planner.recorded,
      source: planner.source.report)
  }

  /// Of mounts that serve the same: sources and everything that decides what of them is served.
  var identity: String { origin.json }

  /// The same on all nodes that serve the same, wherever their copies of the source are.
  var fingerprint: String { origin.fingerprint }

  /// Reads what `ranks` of the layout need into the page cache.
  func warm(_ ranks: Ranks) throws {
    guard let checkpoint = served as? Checkpoint else {
      throw TrainedError.option("--warm", why: "a Hugging Face directory has no ranks")
    }
    _ = try checkpoint.warm(ranks, planner.source.directory(for: "--warm"))
  }

  /// Returns as `FileTree.mount`: in the daemon, too, once it is unmounted.
  func mount(at mountpoint: Mountpoint, _ options: MountOptions) throws(MountError) {
    let source = planner.source
    var mount = options
    mount.sourceBytes = source.bytes
    // safetensors files are mapped, and mappings want the page cache.
    mount.isCached = options.isCached || !(served is Checkpoint)
    mount.layouts = CheckpointResolver(planner: planner).layouts
    mount.reports =
      served.companions + [
        FileTree.Entry("plan.json") { [served] in
          VirtualFile(served.report(modified: source.modified).json + "\n")
        },
        FileTree.Entry(Manifest.Origin.reportName, isVolatile: true) { [self] in
          VirtualFile(origin.json + "\n")
        },
        FileTree.Entry("source.json", isVolatile: true) { VirtualFile(source.report.json + "\n") },
        FileTree.Entry("version") { VirtualFile("\(Zerofs.version)\n") },
      ]
    try served.tree(modified: source.modified).mount(at: mountpoint, mount)
  }
}

/// `path` without symbolic links; as it is where there is no such file, for the message of whoever opens it.
func absolutePath(_ path: String) -> String { resolvedPath(path) ?? path }
