import Bytes

/// Everything below a mountpoint, by inode number: the tree of the command line's layout, `.zerofs` with reports about the mount, and the
/// directories of other layouts that are in use.
///
/// `.zerofs` is found by its name and not listed, like `.zfs` of ZFS: whoever copies or compares the root gets the checkpoint
/// and nothing else. Layouts in use are listed behind the root's own entries, which come first when a name is looked up, too.
final class Superblock: Sendable {
  enum Answer {
    case inode(Inode)
    /// No such name, and why, if it was meant as a layout. It stays so as long as the mount is.
    case absent(reason: String?)
    /// Can't be served for now, and why.
    case busy(reason: String)
    /// Isn't there yet, and why.
    case pending(reason: String)
  }

  let root: InodeTable
  let layouts: LayoutInodes?
  private let control: InodeTable

  /// - Parameter control: the files of `.zerofs`.
  /// - Throws: `.tooManyFiles` for a root whose numbers would reach those of `.zerofs`.
  init(
    _ tree: FileTree, control: [FileTree.Entry] = [], layouts: LayoutResolver? = nil,
    maxCount: Int = InodeNumber.maxCount - 1
  ) throws(MountError) {
    // Before its inodes are made, which take more than its entries.
    guard tree.entries.count <= maxCount else {
      throw .tooManyFiles(count: tree.entries.count, allowed: maxCount)
    }
    root = InodeTable(tree)
    guard root.count <= maxCount else { throw .tooManyFiles(count: root.count, allowed: maxCount) }
    self.control = InodeTable(
      FileTree(control, modified: tree.modified), first: InodeNumber.first(InodeNumber.control),
      parent: InodeTable.rootNumber)
    self.layouts = layouts.map { LayoutInodes($0) }
  }

  subscript(number: UInt64) -> Inode? {
    switch InodeNumber.prefix(of: number) {
    case 0: root[number]
    case InodeNumber.control: control[number]
    default: layouts?[number]
    }
  }

  /// What `name` (UTF-8, without a terminating zero) is in the directory `parent`. Each inode that is found counts as looked up
  /// until `forget`.
  ///
  /// "." and ".." are no names of programs, whose dots the kernel resolves: it looks them up for a file handle (of NFS, of
  /// open_by_handle_at(2)), whose inode may have been forgotten and may be a file.
  func lookup(_ name: [UInt8], in parent: UInt64) -> Answer {
    if name.elementsEqual(".".utf8) { return lookup(number: parent) }
    if name.elementsEqual("..".utf8) {
      return self[parent].map { lookup(number: $0.parent) } ?? .absent(reason: nil)
    }
    let inode: Inode?
    switch InodeNumber.prefix(of: parent) {
    case 0: inode = root.lookup(name, in: parent)
    case InodeNumber.control: inode = control.lookup(name, in: parent)
    default: inode = layouts?.lookup(name, in: parent)
    }
    if let inode { return .inode(inode) }
    guard parent == InodeTable.rootNumber, let text = String(validating: name, as: UTF8.self) else {
      return .absent(reason: nil)
    }
    if text == FileTree.reportDirectory, let directory = control[InodeNumber.first(InodeNumber.control)] {
      return .inode(directory)
    }
    switch layouts?.lookup(text) {
    case .inode(let directory): return .inode(directory)
    case .refused(let reason): return .absent(reason: reason)
    case .pending(let reason): return .pending(reason: reason)
    case .taken(let name):
      return .busy(reason: "its inode numbers are those of \(name), which is in use")
    case .unknown, nil: return .absent(reason: nil)
    }
  }

  /// The inode of a number that was given out before, counted as looked up.
  private func lookup(number: UInt64) -> Answer {
    let isOfLayout = InodeNumber.prefix(of: number) > InodeNumber.control
    let inode = isOfLayout ? layouts?.lookup(number: number) : self[number]
    return inode.map { .inode($0) } ?? .absent(reason: nil)
  }

  /// The kernel takes back `count` lookups of `number`.
  func forget(_ number: UInt64, _ count: UInt64) {
    if InodeNumber.prefix(of: number) > InodeNumber.control { layouts?.forget(number, count) }
  }

  private static let maxHeld = 1 << 40
  /// Of a directory that nobody has looked up (libfuse `lib/fuse.c`: FUSE_UNKNOWN_INO).
  private static let unknownNumber: UInt64 = 0xFFFF_FFFF

  /// An entry of a directory, and the offset behind it.
  struct ListedEntry {
    let name: String
    let number: UInt64
    let isDirectory: Bool
    let end: Int
  }

  /// What `directory` lists from `offset` on: ".", "..", its children, and in the root the layouts in use, whose offsets don't
  /// move when others come and go. Not many more than `limit`.
  func entries(of directory: Inode, from offset: Int, limit: Int) -> [ListedEntry] {
    guard case .directory(let children, _) = directory.content else { return [] }
    let own = children.count + 2
    var entries: [ListedEntry] = []
    let start = min(max(0, offset), own)
    for index in start..<min(start + limit, own) {
      let number = index == 0 ? directory.number : index == 1 ? directory.parent : children[index - 2]
      guard let inode = self[number] ?? (index == 1 ? root[InodeTable.rootNumber] : nil) else { break }
      let name = index == 0 ? "." : index == 1 ? ".." : inode.name
      entries.append(
        ListedEntry(name: name, number: number, isDirectory: inode.isDirectory, end: index + 1))
    }
    if directory.number == InodeTable.rootNumber, entries.count < limit, let layouts {
      let listed = layouts.listed
      entries += layouts.held(after: max(0, offset - own)).filter { !listed.contains($0.name) }.map {
        ListedEntry(name: $0.name, number: $0.number, isDirectory: true, end: own + $0.serial)
      }
      // Behind all serial numbers, so that an offset tells the two lists apart.
      let listedStart = own + Superblock.maxHeld
      for (index, name) in listed.enumerated() where listedStart + index >= offset {
        entries.append(
          ListedEntry(
            name: name, number: Superblock.unknownNumber, isDirectory: true, end: listedStart + index + 1))
      }
    }
    return entries
  }
}

extension Inode {
  fileprivate var isDirectory: Bool { if case .directory = content { true } else { false } }
}
