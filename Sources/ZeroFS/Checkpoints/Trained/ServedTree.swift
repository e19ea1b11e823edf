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
  /// The answer of `zerofs plan`.
  func report(modified: timespec) -> any ServedReport
  /// What stands in `.zerofs` for those who read it, beside reports.
  var companions: [FileTree.Entry] { get }
}

extension ServedTree {
  package func writtenTree(modified: timespec) -> FileTree { tree(modified: modified) }
  package var companions: [FileTree.Entry] { [] }
}

/// What a tree consists of, for programs and for people.
package protocol ServedReport {
  var json: String { get }
  var text: String { get }
  var textOfAllFiles: String { get }
  var warnings: [String] { get }
}

extension Checkpoint: ServedTree {
  package var ranks: Int { layout.worldSize }
  package func report(modified: timespec) -> any ServedReport { PlanReport(self) }
}
