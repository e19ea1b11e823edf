import Bytes
import Glibc
import Synchronization

/// A directory or a file of a mounted tree.
final class Inode: Sendable {
  enum Content: Sendable {
    /// `children` in the order of their paths.
    case directory(children: [UInt64], subdirectories: Int)
    case file(FileTree.Entry)
  }

  /// What `stat` says about a file.
  struct Measure: Sendable {
    /// Bytes.
    let size: Int
    /// Bytes that are not in holes.
    let dataBytes: Int
  }

  let number: UInt64
  /// The directory it is in; the root's is itself.
  let parent: UInt64
  let name: String
  let content: Content

  private struct Composed {
    var measure: Measure?
    weak var open: OpenFile?
  }
  /// In place, one word for each file of a tree: a `LockedValue` would be two allocations.
  private let composed = Mutex(Composed())

  /// Whether what `stat` says may change.
  var isVolatile: Bool { if case .file(let entry) = content { entry.isVolatile } else { false } }

  init(number: UInt64, parent: UInt64, name: String, content: Content) {
    self.number = number
    self.parent = parent
    self.name = name
    self.content = content
  }

  /// The size of a file, composed at the first call; `nil` for a directory.
  func measure() -> Measure? {
    guard case .file(let entry) = content else { return nil }
    if entry.isVolatile { return Inode.measure(entry.file()) }
    return composed.withLock { composed in
      if let known = composed.measure { return known }
      return Inode.measure(entry.file(), in: &composed)
    }
  }

  /// What the handles of a file share, from the first open to the last release; `nil` for a directory.
  func open() -> OpenFile? {
    guard case .file(let entry) = content else { return nil }
    if entry.isVolatile { return OpenFile(entry) }
    return composed.withLock { composed in
      if let open = composed.open { return open }
      let open = OpenFile(entry)
      composed.open = open
      if composed.measure == nil { _ = Inode.measure(open.file, in: &composed) }
      return open
    }
  }

  private static func measure(_ file: VirtualFile, in composed: inout Composed) -> Measure {
    let measure = measure(file)
    composed.measure = measure
    return measure
  }

  private static func measure(_ file: VirtualFile) -> Measure {
    Measure(size: file.count, dataBytes: file.dataBytes)
  }
}

/// A file that someone reads.
final class OpenFile: Sendable {
  let path: String
  let file: VirtualFile
  /// What the file is read from, and what is read after it.
  let entry: FileTree.Entry?

  init(path: String, file: VirtualFile) { (self.path, self.file, entry) = (path, file, nil) }

  init(_ entry: FileTree.Entry) { (path, file, self.entry) = (entry.path, entry.file(), entry) }
}

/// Numbers for the directories and files of one `FileTree`, in the order of its entries, so that each mount of the tree
/// numbers them alike. Immutable but for what the inodes cache.
///
/// One table numbers one tree, from `first` on; whoever serves more trees than one keeps more tables than one. The callbacks
/// know numbers and names only and reach inodes by `subscript` and `lookup` alone.
struct InodeTable: Sendable {
  /// FUSE's number of a root directory (`FUSE_ROOT_ID`).
  static let rootNumber: UInt64 = 1

  let modified: timespec
  private let first: UInt64
  private let inodes: [Inode]
  private let numbers: [Key: UInt64]

  private struct Key: Hashable {
    let parent: UInt64
    /// UTF-8; file names are compared as bytes, Swift's strings are not.
    let name: [UInt8]

    /// In one go: an array of bytes hashes itself byte by byte.
    func hash(into hasher: inout Hasher) {
      hasher.combine(parent)
      name.withUnsafeBytes { hasher.combine(bytes: $0) }
    }
  }

  private struct Draft {
    let parent: UInt64
    let name: String
    let entry: FileTree.Entry?
    var children: [UInt64] = []
    var subdirectories = 0
  }

  /// - Parameter parent: the directory that the tree hangs in; a root is its own.
  init(_ tree: FileTree, first: UInt64 = rootNumber, parent: UInt64? = nil) {
    let above = parent ?? first
    var drafts = [Draft(parent: above, name: "", entry: nil)]
    var numbers: [Key: UInt64] = [:]
    for entry in tree.entries {
      var parent = first
      let names = Array(entry.path.utf8).split(separator: UInt8(ascii: "/"))
      for (depth, name) in names.enumerated() {
        let key = Key(parent: parent, name: Array(name))
        let isFile = depth == names.count - 1
        if let known = numbers[key] {
          precondition(!isFile && drafts[Int(known - first)].entry == nil, "two entries at \(entry.path)")
          parent = known
          continue
        }
        let number = first + UInt64(drafts.count)
        numbers[key] = number
        drafts.append(
          Draft(parent: parent, name: String(decoding: name, as: UTF8.self), entry: isFile ? entry : nil))
        drafts[Int(parent - first)].children.append(number)
        if !isFile { drafts[Int(parent - first)].subdirectories += 1 }
        parent = number
      }
    }
    inodes = drafts.enumerated().map { index, draft in
      Inode(
        number: first + UInt64(index), parent: draft.parent, name: draft.name,
        content: draft.entry.map { .file($0) }
          ?? .directory(children: draft.children, subdirectories: draft.subdirectories))
    }
    self.first = first
    self.numbers = numbers
    modified = tree.modified
  }

  var count: Int { inodes.count }

  subscript(number: UInt64) -> Inode? {
    number >= first && number - first < UInt64(inodes.count) ? inodes[Int(number - first)] : nil
  }

  /// The inode that `name` (UTF-8, without a terminating zero) has in the directory `parent`.
  func lookup(_ name: [UInt8], in parent: UInt64) -> Inode? {
    numbers[Key(parent: parent, name: name)].flatMap { self[$0] }
  }
}
