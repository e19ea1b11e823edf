import Glibc

/// A directory tree of virtual files: what a mount serves and `materialize` writes. Immutable; the files themselves are
/// composed when they are asked for.
package struct FileTree: Sendable {
  /// One file; equal by identity.
  package final class Entry: Sendable {
    /// Relative to the root, without a leading slash: `global_step0/layer_01-model_00-model_states.pt`.
    package let path: String
    /// Whether the file is a program (mode 0555, not 0444).
    package let isExecutable: Bool
    /// Whether the file may be another each time that it is composed: a log, not a checkpoint.
    package let isVolatile: Bool
    private let compose: @Sendable () -> VirtualFile

    /// The file that whoever read all of this one reads next, where that is known.
    package let next: Entry?

    /// The files that were composed last: a file is looked up, opened, and read ahead of before that.
    private static let recent = LockedValue<[(of: Entry, file: VirtualFile)]>([])
    private static let maxRecent = 16

    package init(
      _ path: String, isExecutable: Bool = false, isVolatile: Bool = false, next: Entry? = nil,
      _ compose: @escaping @Sendable () -> VirtualFile
    ) {
      self.path = path
      self.isExecutable = isExecutable
      self.isVolatile = isVolatile
      self.compose = compose
      self.next = next
    }

    /// The file that is all of `file`.
    package convenience init(_ path: String, whole file: any StoredFile) {
      self.init(path) {
        VirtualFile(TensorExpression(source: file, offset: 0, shape: [file.size], dtype: .uint8).extents)
      }
    }

    /// The file: composed without reading tensor data. Equal at each call, if it isn't volatile.
    package func file() -> VirtualFile {
      if isVolatile { return compose() }
      if let known = Entry.recent.withLock({ $0.last { $0.of === self } }) { return known.file }
      let file = compose()
      Entry.recent.withLock { recent in
        if recent.count == Entry.maxRecent { recent.removeFirst() }
        recent.append((self, file))
      }
      return file
    }
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
