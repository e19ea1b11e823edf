import Bytes
import Glibc

/// What a source is served as: a checkpoint in some layout, or a Hugging Face directory.
package protocol ServedTree: Sendable {
  /// The one name of everything that decides which files there are.
  var layoutName: LayoutName { get }
  /// Things that are served as asked and may still surprise.
  var warnings: [String] { get }
  /// Of the run that loads it.
  var ranks: Int { get }
  func tree(modified: timespec) -> FileTree
}

extension Checkpoint: ServedTree {
  package var ranks: Int { layout.worldSize }
}
