import Glibc

/// A directory tree of virtual files: what a mount serves and `materialize` writes. Immutable; the files themselves are
/// composed when they are asked for.
package struct FileTree: Sendable {
  package struct Entry: Sendable {
    /// Relative to the root, without a leading slash: `global_step0/layer_01-model_00-model_states.pt`.
    package let path: String
    /// Whether the file is a program (mode 0555, not 0444).
    package let isExecutable: Bool
    /// Whether the file may be another each time that it is composed: a log, not a checkpoint.
    package let isVolatile: Bool
    private let compose: @Sendable () -> VirtualFile
    private let following: (@Sendable () -> Entry)?

    /// The file that whoever read all of this one reads next, where that is known.
    package var next: Entry? { following?() }

    package init(
      _ path: String, isExecutable: Bool = false, isVolatile: Bool = false, next: Entry? = nil,
      _ compose: @escaping @Sendable () -> VirtualFile
    ) {
      self.path = path
      self.isExecutable = isExecutable
      self.isVolatile = isVolatile
      self.compose = compose
      if let next { following = { next } } else { following = nil }
    }

    /// The file: composed anew at each call, without reading tensor data. Equal at each call, if
    /// it isn't volatile.
    package func file() -> VirtualFile { compose() }
  }

  /// The directory of reports about a mount, in its root.
  package static let reportDirectory = ".zerofs"

  /// By path; every directory is implied by the paths below it.
  package let entries: [Entry]
  /// The mtime of every file and directory: when the newest source file was written.
  package let modified: timespec

  package init(_ entries: [Entry], modified: timespec) {
    self.entries = entries.sorted { $0.path < $1.path }
    self.modified = modified
  }
}
