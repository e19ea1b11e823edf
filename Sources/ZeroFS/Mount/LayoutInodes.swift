import Bytes

/// The directories of layouts below a root: their inodes exist while they are used and are made again, with equal numbers, when
/// they are asked for again.
///
/// Three things are kept. A *record*, some hundred bytes, for each layout that the kernel holds an inode of: FUSE counts what it
/// looked up and what it forgot. The composed trees of the layouts that were used last, within bounds; the others are composed
/// from their canonical names when the kernel asks for one of their numbers. And the names of the layouts that were forgotten
/// last, for file handles.
///
/// A number is a function of the canonical name and of the entry's place in its tree, whatever was looked up before.
final class LayoutInodes: Sendable {
  /// How many composed trees are kept, and of how many inodes together; the one used last is kept whatever its size.
  struct Bounds: Sendable {
    var trees = 32
    var inodes = 1 << 13
    /// Names of forgotten layouts.
    var names = 1 << 12
  }

  enum Answer {
    case inode(Inode)
    case refused(reason: String)
    case pending(reason: String)
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
    /// Canonical names of layouts without a record; the one forgotten last is the last.
    var forgotten: [(prefix: UInt64, canonicalName: String)] = []
    var lastSerial = 0
  }

  private let state = LockedValue(State())
  private let resolver: LayoutResolver
  private let bounds: Bounds
  private let prefix: @Sendable (_ canonicalName: String) -> UInt64

  init(
    _ resolver: LayoutResolver, bounds: Bounds = Bounds(),
    prefix: @escaping @Sendable (String) -> UInt64 = InodeNumber.prefix
  ) {
    (self.resolver, self.bounds, self.prefix) = (resolver, bounds, prefix)
  }

  /// The directory that `name` means, counted as looked up.
  func lookup(_ name: String) -> Answer {
    let canonicalName: String
    let tree: FileTree
    switch resolver.resolve(name) {
    case .unknown: return .unknown
    case .refused(let reason): return .refused(reason: reason)
    case .pending(let reason): return .pending(reason: reason)
    case .tree(let canonical, let found): (canonicalName, tree) = (canonical, found)
    }
    let prefix = prefix(canonicalName)
    let known = state.withLock { $0.table(prefix, for: canonicalName) }
    // Not under the lock: others are served meanwhile. If two threads compose it, one is kept.
    let table = known ?? InodeTable(tree, first: InodeNumber.first(prefix), parent: InodeTable.rootNumber)
    guard table.count <= InodeNumber.maxCount, let directory = table[InodeNumber.first(prefix)] else {
      return .refused(reason: "\(table.count) files and directories are more than a mount can number")
    }
    return state.withLock { state in
      if let other = state.record(prefix, canonicalName, name: name, table, bounds) {
        return .taken(by: other)
      }
      return .inode(directory)
    }
  }

  /// The inode of a number that was given out before, even if all of its layout has been forgotten since; counted as looked
  /// up. `nil` if that was too long ago.
  func lookup(number: UInt64) -> Inode? {
    let prefix = InodeNumber.prefix(of: number)
    let known = state.withLock { state in
      state.records[prefix].map { ($0.canonicalName, $0.name) }
        ?? state.forgotten.last { $0.prefix == prefix }.map { ($0.canonicalName, $0.canonicalName) }
    }
    guard let (canonicalName, name) = known, let table = table(prefix, of: canonicalName),
      let inode = table[number]
    else { return nil }
    return state.withLock { state in
      state.record(prefix, canonicalName, name: name, table, bounds) == nil ? inode : nil
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
      guard record.lookups == 0 else { return }
      state.tables.removeAll { $0.prefix == prefix }
      state.forgotten.append((prefix, record.canonicalName))
      if state.forgotten.count > bounds.names { state.forgotten.removeFirst(bounds.names / 2) }
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

  /// Names that are listed whether they are used or not.
  var listed: [String] { resolver.listed() }

  /// How many trees are composed.
  var composed: Int { state.withLock { $0.tables.count } }

  /// The inodes of a layout that the kernel holds one of.
  private func table(_ prefix: UInt64) -> InodeTable? {
    let canonicalName = state.withLock { $0.records[prefix]?.canonicalName }
    return canonicalName.flatMap { table(prefix, of: $0) }
  }

  /// The inodes of a layout, composed where they aren't.
  private func table(_ prefix: UInt64, of canonicalName: String) -> InodeTable? {
    if let known = state.withLock({ $0.table(prefix, for: canonicalName) }) { return known }
    guard case .tree(_, let tree) = resolver.resolve(canonicalName) else { return nil }
    let table = InodeTable(tree, first: InodeNumber.first(prefix), parent: InodeTable.rootNumber)
    state.withLock { if $0.records[prefix] != nil { $0.keep(table, prefix, bounds) } }
    return table
  }
}

extension LayoutInodes.State {
  /// Counts a lookup under `name`. Returns the name of another layout that has the prefix, if there is one.
  fileprivate mutating func record(
    _ prefix: UInt64, _ canonicalName: String, name: String, _ table: InodeTable,
    _ bounds: LayoutInodes.Bounds
  ) -> String? {
    var record =
      records[prefix]
      ?? LayoutInodes.Record(
        canonicalName: canonicalName, name: name, lookups: 0, serial: lastSerial + 1, count: table.count)
    guard record.canonicalName == canonicalName else { return record.name }
    if records[prefix] == nil { forgotten.removeAll { $0.prefix == prefix } }
    lastSerial = max(lastSerial, record.serial)
    record.lookups += 1
    record.name = name
    records[prefix] = record
    keep(table, prefix, bounds)
    return nil
  }

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
    _ table: InodeTable, _ prefix: UInt64, _ bounds: LayoutInodes.Bounds
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
  static let maxCount = 1 << indexBits
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
