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
  /// The tree as it stands on disk, where no mount has `.zerofs`.
  func writtenTree(modified: timespec) -> FileTree
  /// What stands in `.zerofs` for those who read it, beside reports.
  var companions: [FileTree.Entry] { get }
}

extension ServedTree {
  package func writtenTree(modified: timespec) -> FileTree { tree(modified: modified) }
  package var companions: [FileTree.Entry] { [] }
}

extension Checkpoint: ServedTree {
  package var ranks: Int { layout.worldSize }
}
