import Checkpoints
import HuggingFace
import Mount

/// The checkpoints that directories below a mount's root are: the command line's, with another layout.
struct CheckpointResolver: Sendable {
  /// Ranks of a layout that is composed only because someone looked up its name: one of millions would fill the memory.
  private static let maxRanks = 1 << 16

  let planner: CheckpointPlanner

  var layouts: LayoutResolver {
    LayoutResolver(listed: { [planner] in planner.siblings }, { resolve($0) })
  }

  private func resolve(_ name: String) -> LayoutResolver.Answer {
    if let step = planner.sibling(name) {
      do { return .tree(canonicalName: name, try step()) } catch { return .pending(reason: "\(error)") }
    }
    guard let words = LayoutName(name) else { return .unknown }
    do {
      let served = try planner.served(named: words)
      guard served.ranks <= CheckpointResolver.maxRanks else {
        throw LayoutError.ranks(served.ranks, allowed: CheckpointResolver.maxRanks)
      }
      return .tree(
        canonicalName: served.layoutName.description, served.tree(modified: planner.source.modified))
    } catch {
      return .refused(reason: "\(error)")
    }
  }
}
