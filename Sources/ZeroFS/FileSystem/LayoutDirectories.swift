import Synchronization

/// The directories of layouts below a root: their inodes exist while they are used and are made again, with equal numbers, when
/// they are asked for again.
///
/// Two things are kept. A *record*, some hundred bytes, for each layout that the kernel holds an inode of: FUSE counts what it
/// looked up and what it forgot. And the composed trees of the layouts that were used last, within bounds; the others are
/// composed from their canonical names when the kernel asks for one of their numbers.
///
/// A number is a function of the canonical name and of the entry's place in its tree, whatever was looked up before.
final class LayoutDirectories: Sendable {
  /// How many composed trees are kept, and of how many inodes together; the one used last is kept whatever its size.
  struct Bounds: Sendable {
    var trees = 32
    var inodes = 1 << 13
  }

  enum Answer {
    case inode(Inode)
    case refused(reason: String)
    /// Another layout has the numbers, and is in use.
    case taken(by: String)
    case unknown
  }

  /// A layout that the kernel holds inodes of.
  struct Held {
    /// As it was looked up last: the name that the kernel has it under.
    let name: String
    let number: UInt64
    /// Grows from the first held layout to the last.
    let serial: Int
    /// Inodes of its tree.
    let count: Int
  }

  fileprivate struct Record {
    let canonicalName: String
    var name: String
    /// Lookups that the kernel has not taken back, of all inodes of the tree.
    var lookups: UInt64
    let serial: Int
    let count: Int
  }

  fileprivate struct State {
    /// By the prefixes of inode numbers.
    var records: [UInt64: Record] = [:]
    /// The one used last is the last.
    var tables: [(prefix: UInt64, table: InodeTable)] = []
    var lastSerial = 0
  }

  private let state = Mutex(State())
  private let trees: LayoutTrees
  private let bounds: Bounds
  private let prefix: @Sendable (_ canonicalName: String) -> UInt64

  init(
    _ trees: LayoutTrees, bounds: Bounds = Bounds(),
    prefix: @escaping @Sendable (String) -> UInt64 = InodeNumber.prefix
  ) {
    (self.trees, self.bounds, self.prefix) = (trees, bounds, prefix)
  }

  /// The directory that `name` means, counted as looked up.
  func lookup(_ name: String) -> Answer {
    let canonicalName: String
    let tree: FileTree
    switch trees.resolve(name) {
    case .unknown: return .unknown
    case .refused(let reason): return .refused(reason: reason)
    case .tree(let canonical, let its): (canonicalName, tree) = (canonical, its)
    }
    let prefix = prefix(canonicalName)
    let known = state.withLock { $0.table(prefix, for: canonicalName) }
    // Not under the lock: others are served meanwhile. If two threads compose it, one is kept.
    let table = known ?? InodeTable(tree, first: InodeNumber.first(prefix), parent: InodeTable.rootNumber)
    guard table.count <= InodeNumber.maximumCount, let directory = table[InodeNumber.first(prefix)] else {
      return .refused(reason: "\(table.count) files and directories are more than a mount can number")
    }
    return state.withLock { state in
      var record =
        state.records[prefix]
        ?? Record(
          canonicalName: canonicalName, name: name, lookups: 0, serial: state.lastSerial + 1,
          count: table.count)
      guard record.canonicalName == canonicalName else {
        return .taken(by: record.name)
      }
      state.lastSerial = max(state.lastSerial, record.serial)
      record.lookups += 1
      record.name = name
      state.records[prefix] = record
      state.keep(table, prefix, bounds)
      return .inode(directory)
    }
  }

  /// The inode that `name` has in the directory `parent` of a layout, counted as looked up.
  func lookup(_ name: [UInt8], in parent: UInt64) -> Inode? {
    let prefix = InodeNumber.prefix(of: parent)
    guard let inode = table(prefix)?.lookup(name, in: parent) else { return nil }
    state.withLock { $0.records[prefix]?.lookups += 1 }
    return inode
  }

  subscript(number: UInt64) -> Inode? { table(InodeNumber.prefix(of: number))?[number] }

  /// The kernel takes back `count` lookups of `number`.
  func forget(_ number: UInt64, _ count: UInt64) {
    let prefix = InodeNumber.prefix(of: number)
    state.withLock { state in
      guard var record = state.records[prefix] else { return }
      record.lookups -= min(count, record.lookups)
      state.records[prefix] = record.lookups == 0 ? nil : record
      if record.lookups == 0 { state.tables.removeAll { $0.prefix == prefix } }
    }
  }

  /// The layouts that the kernel holds inodes of, the oldest first, from behind `serial` on.
  func held(after serial: Int = 0) -> [Held] {
    state.withLock { state in
      state.records.filter { $0.value.serial > serial }.map { prefix, record in
        Held(
          name: record.name, number: InodeNumber.first(prefix), serial: record.serial, count: record.count)
      }
    }.sorted { $0.serial < $1.serial }
  }

  /// How many trees are composed.
  var composed: Int { state.withLock { $0.tables.count } }

  /// The inodes of a layout that the kernel holds one of.
  private func table(_ prefix: UInt64) -> InodeTable? {
    let (canonicalName, known) = state.withLock { state in
      let name = state.records[prefix]?.canonicalName
      return (name, name.flatMap { state.table(prefix, for: $0) })
    }
    guard known == nil, let canonicalName else { return known }
    guard case .tree(_, let tree) = trees.resolve(canonicalName) else { return nil }
    let table = InodeTable(tree, first: InodeNumber.first(prefix), parent: InodeTable.rootNumber)
    state.withLock { if $0.records[prefix] != nil { $0.keep(table, prefix, bounds) } }
    return table
  }
}

extension LayoutDirectories.State {
  /// The composed tree of `canonicalName`, used last from now on.
  fileprivate mutating func table(_ prefix: UInt64, for canonicalName: String) -> InodeTable? {
    guard records[prefix]?.canonicalName == canonicalName,
      let index = tables.lastIndex(where: { $0.prefix == prefix })
    else { return nil }
    let found = tables.remove(at: index)
    tables.append(found)
    return found.table
  }

  fileprivate mutating func keep(
    _ table: InodeTable, _ prefix: UInt64, _ bounds: LayoutDirectories.Bounds
  ) {
    if tables.last?.prefix == prefix { return }
    tables.removeAll { $0.prefix == prefix }
    tables.append((prefix, table))
    var inodes = tables.reduce(0) { $0 + $1.table.count }
    while tables.count > 1 && (tables.count > bounds.trees || inodes > bounds.inodes) {
      inodes -= tables.removeFirst().table.count
    }
  }
}

/// How inodes of several trees are numbered: the high bits say which tree, the low bits which of its entries. Prefix 0 is the
/// root's tree, which has small numbers.
enum InodeNumber {
  private static let indexBits: UInt64 = 24
  /// Entries of one tree.
  static let maximumCount = 1 << indexBits
  /// The prefix of `.zerofs`.
  static let control: UInt64 = 1

  static func prefix(of number: UInt64) -> UInt64 { number >> indexBits }

  static func first(_ prefix: UInt64) -> UInt64 { prefix << indexBits }

  /// Of the canonical name of a layout: 39 bits of its hash, so that numbers are positive in 64 bits with a sign, too.
  @Sendable static func prefix(_ canonicalName: String) -> UInt64 {
    let prefix = SHA256(canonicalName.utf8).prefix >> (64 - 39)
    return prefix > control ? prefix : prefix + control + 1
  }
}
