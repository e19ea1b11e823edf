import Checkpoints
import HuggingFace
import Mount

/// The checkpoints that directories below a mount's root are: the command line's, with another layout.
struct CheckpointResolver: Sendable {
  /// Ranks of a layout that is composed only because someone looked up its name: one of millions would fill the memory.
  private static let maxRanks = 1 << 16

  let planner: CheckpointPlanner

  var layouts: LayoutResolver {
    LayoutResolver { [self] name in
      guard let words = LayoutName(name) else { return .unknown }
      do {
        let checkpoint = try planner.checkpoint(named: words)
        let ranks = checkpoint.layout.worldSize
        guard ranks <= CheckpointResolver.maxRanks else {
          throw LayoutError.ranks(ranks, allowed: CheckpointResolver.maxRanks)
        }
        let tree = checkpoint.tree(modified: planner.directory.modified)
        return .tree(canonicalName: checkpoint.layoutName.description, tree)
      } catch {
        return .refused(reason: "\(error)")
      }
    }
  }
}
