import Bytes

/// Trees that a mount serves below its root when someone looks up their names: one for each layout.
package struct LayoutResolver: Sendable {
  package enum Answer: Sendable {
    /// `canonicalName` is one for all names of the tree, and resolves to an equal tree again.
    case tree(canonicalName: String, FileTree)
    /// A layout that can't be served, and why.
    case refused(reason: String)
    /// What isn't there yet, and why.
    case pending(reason: String)
    /// Not the name of a layout.
    case unknown
  }

  /// What `name` means: the same at each call, but for what was pending.
  let resolve: @Sendable (_ name: String) -> Answer
  /// Names that the root lists whether anyone uses them or not; others may follow behind these.
  let listed: @Sendable () -> [String]

  package init(
    listed: @escaping @Sendable () -> [String] = { [] },
    _ resolve: @escaping @Sendable (_ name: String) -> Answer
  ) { (self.listed, self.resolve) = (listed, resolve) }
}
