import Bytes
import Glibc

/// The places of a tree's files below its root: whatever else is there doesn't belong to it.
struct TreeFootprint: Sendable {
  /// Relative to the root.
  let files: Set<String>
  let directories: Set<String>

  init(_ files: some Sequence<String>) {
    self.files = Set(files)
    directories = Set(self.files.flatMap(Self.parents))
  }

  /// The directories that lead to a file, outermost first.
  static func parents(of path: String) -> [String] {
    path.utf8.indices.filter { path.utf8[$0] == UInt8(ascii: "/") }.map { String(path[..<$0]) }
  }

  /// Something that isn't of the tree.
  struct Stranger: Equatable {
    /// Relative to the root.
    let path: String
    let why: String
  }

  /// Looks through `root` and the tree's directories, but not `.zerofs`, where programs put what they need beside the tree. Links
  /// aren't followed: they are strangers.
  ///
  /// - Throws: `ReadError` where a directory can't be listed.
  func strangers(in root: OpenDirectory) throws(ReadError) -> [Stranger] {
    try strangers(in: root, below: "")
  }

  private func strangers(in directory: OpenDirectory, below prefix: String) throws(ReadError) -> [Stranger] {
    var strangers: [Stranger] = []
    for name in try directory.names() {
      let path = prefix + name
      if path == FileTree.reportDirectory { continue }
      // Removed meanwhile.
      guard let status = directory.status(name) else { continue }
      if directories.contains(path) {
        if status.isDirectory {
          strangers += try self.strangers(in: directory.directory(name), below: "\(path)/")
        } else {
          strangers.append(Stranger(path: path, why: "is not a directory but \(status.kind)"))
        }
      } else if !files.contains(path) {
        strangers.append(Stranger(path: path, why: "does not belong to this checkpoint"))
      } else if !status.isRegularFile {
        strangers.append(Stranger(path: path, why: "is not a file but \(status.kind)"))
      }
    }
    return strangers
  }
}
