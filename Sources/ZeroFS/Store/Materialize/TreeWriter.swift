import Bytes
import Glibc
import HuggingFace

/// Writes a tree to a directory, all of it or a share: `zerofs materialize`.
package struct TreeWriter: Sendable {
  package let tree: FileTree
  /// The directory; made if it isn't there.
  package let root: String
  package let origin: Manifest.Origin
  package let share: Share
  /// Where there are any, only files that match one (fnmatch(3), relative to the root) are written.
  package let patterns: [String]

  package init(
    _ tree: FileTree, to root: String, origin: Manifest.Origin, share: Share = .whole, patterns: [String] = []
  ) {
    var root = root
    while root.utf8.count > 1 && root.utf8.last == UInt8(ascii: "/") { root.removeLast() }
    (self.tree, self.root, self.origin) = (tree, root, origin)
    (self.share, self.patterns) = (share, patterns)
  }

  /// A file to be written.
  struct Item: Sendable {
    let entry: FileTree.Entry
    /// Bytes; `data` without holes.
    let size: Int
    let data: Int
    /// Whether something is there under its name.
    let exists: Bool
    /// Bytes on disk that a killed run left, which are freed first.
    let remains: Int
  }

  /// What there is to do, largest first.
  package struct Work: Sendable {
    let items: [Item]
    package var files: Int { items.count }
    /// Bytes; `data` without holes.
    package var size: Int { items.reduce(0) { $0 + $1.size } }
    package var data: Int { items.reduce(0) { $0 + $1.data } }
    /// Files that an earlier run finished.
    package var existing: Int { items.count { $0.exists } }
    var missingData: Int { items.reduce(0) { $0 + ($1.exists ? 0 : max(0, $1.data - $1.remains)) } }
  }

  /// How far the tree is when the share is written.
  package enum Outcome: Sendable, Equatable {
    case complete
    /// Other shares are missing. Those in `unseen` have neither finished nor begun.
    case waiting(unseen: [Int])
  }

  // MARK: before

  /// Looks at the target before anything is written to it.
  ///
  /// - Throws: `TargetError` for what speaks against it.
  package func work() throws(TargetError) -> Work {
    for pattern in patterns where !tree.entries.contains(where: { Self.matches($0.path, pattern) }) {
      throw .noSuchFiles(pattern: pattern)
    }
    try checkRoot()
    let chosen = tree.entries.filter { entry in
      patterns.isEmpty || patterns.contains { Self.matches(entry.path, $0) }
    }
    let items = try chosen.map(item)
    let work = Work(items: share.items(of: items, bytes: \.data, name: \.entry.path))
    if let free = freeBytes(existingRoot), work.missingData > free {
      throw .tooSmall(path: root, neededBytes: work.missingData, freeBytes: free)
    }
    return work
  }

  private static func matches(_ path: String, _ pattern: String) -> Bool { fnmatch(pattern, path, 0) == 0 }

  private func item(_ entry: FileTree.Entry) throws(TargetError) -> Item {
    let file = entry.file()
    let path = "\(root)/\(entry.path)"
    var status = stat()
    let exists = lstat(path, &status) == 0
    if exists, !status.isRegularFile || Int(status.st_size) != file.count {
      throw .inTheWay(path: path, why: "is not the \(file.count) bytes that would be written")
    }
    let remains = lstat(TargetFile.partialName(of: path), &status) == 0 ? Int(status.st_blocks) * 512 : 0
    return Item(entry: entry, size: file.count, data: file.dataBytes, exists: exists, remains: remains)
  }

  /// The root, or where it will be made.
  private var existingRoot: String {
    access(root, F_OK) == 0 ? root : directoryPath(of: root)
  }

  /// Nothing may be there that isn't of this checkpoint.
  private func checkRoot() throws(TargetError) {
    var status = stat()
    guard stat(root, &status) == 0 else {
      let parent = existingRoot
      guard errno == ENOENT, access(parent, W_OK | X_OK) == 0 else {
        throw .unwritable(path: root, errno: errno)
      }
      return
    }
    guard status.isDirectory else { throw .inTheWay(path: root, why: "is not a directory") }
    guard access(root, W_OK | X_OK) == 0 else { throw .unwritable(path: root, errno: errno) }
    try check(openRoot())
  }

  private func openRoot() throws(TargetError) -> OpenDirectory {
    do { return try OpenDirectory(path: root) } catch { throw TargetError(reading: error) }
  }

  private func check(_ directory: OpenDirectory) throws(TargetError) {
    for name in [Manifest.name, ShareLedger.partName(share)] {
      try ledger(directory).check(name)
    }
    let files = tree.entries.flatMap { [$0.path, TargetFile.partialName(of: $0.path)] }
    let strangers: [TreeFootprint.Stranger]
    do { strangers = try TreeFootprint(files).strangers(in: directory) } catch {
      throw TargetError(reading: error)
    }
    if let stranger = strangers.first(where: { !ShareLedger.isManifest($0.path) }) {
      throw .inTheWay(path: "\(root)/\(stranger.path)", why: stranger.why)
    }
  }

  private func ledger(_ directory: OpenDirectory) -> ShareLedger {
    ShareLedger(root: directory, origin: origin, share: share, treeFiles: tree.entries.count)
  }

  /// How fast files are written, in bytes per second: up to `sample` bytes of the first ones go to an unnamed file in the
  /// target's directory, which is gone when it is closed. `nil` where a file system has no such files.
  package func rate(_ work: Work, sample: Int) throws -> Double? {
    let descriptor = open(existingRoot, Self.unnamed | O_WRONLY | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    let start = ContinuousClock.now
    var written = 0
    for item in work.items {
      var reader = SequentialReader(item.entry.file())
      while written < sample, let part = try reader.next() {
        guard case .bytes(let bytes) = part else { continue }
        if let code = writeAll(bytes, to: descriptor, at: written) { throw TargetError(root, errno: code) }
        written += bytes.count
      }
    }
    fsync(descriptor)
    return written == 0 ? nil : Double(written) / ((ContinuousClock.now - start) / .seconds(1))
  }

  /// `O_TMPFILE`, which the Glibc module hides.
  private static let unnamed: Int32 = 0o20000000 | O_DIRECTORY

  // MARK: writing

  /// Writes the files, and the manifest once all shares are there. What an earlier run finished is compared, and kept.
  ///
  /// Who writes all of a tree has a lock on its root for itself; those who write shares have one together.
  ///
  /// - Parameter patience: how many seconds to wait for a sign of those who write the other shares.
  /// - Throws: `TargetError`; `ReadError` of a source.
  package func write(_ work: Work, jobs: Int, patience: Double = 0, _ progress: ByteProgress) throws
    -> Outcome
  {
    guard mkdir(root, 0o777) == 0 || errno == EEXIST else { throw TargetError(root, errno: errno) }
    let directory = try openRoot()
    let lock = (share == .whole ? LOCK_EX : LOCK_SH) | LOCK_NB
    // A file system without locks can't tell.
    if flock(directory.descriptor, lock) != 0 && errno == EWOULDBLOCK { throw TargetError.busy(path: root) }
    let ledger = ledger(directory)
    // Another run may have come in between, which had the lock then.
    try check(directory)
    let begun = share == .whole ? 0 : try ledger.begin()
    let files = try Workers.run(jobs, work.items, progress) { try write($0, in: directory, progress) }
    for path in TreeFootprint(work.items.map(\.entry.path)).directories {
      try self.directory(path, in: directory).sync()
    }
    try directory.sync()
    if try ledger.finish(files) { return .complete }
    return .waiting(unseen: ledger.unseen(begun: begun, after: patience))
  }

  private func write(_ item: Item, in root: OpenDirectory, _ progress: ByteProgress) throws -> Manifest.File {
    let entry = item.entry
    let file = entry.file()
    let (parent, name) = splitPath(entry.path)
    let directory = try directory(String(parent.dropLast()), in: root)
    let target = TargetFile(String(name), in: directory, isExecutable: entry.isExecutable)
    guard item.exists == (directory.status(target.name) != nil) else {
      throw TargetError.busy(path: target.path)
    }
    let checksum =
      item.exists ? try target.checksum(ifEqual: file, progress) : try target.write(file, progress)
    guard let checksum else {
      throw TargetError.inTheWay(path: target.path, why: "holds other bytes than would be written")
    }
    return Manifest.File(path: entry.path, size: item.size, checksum: checksum)
  }

  /// The directory at `path` below the root; made where it isn't there.
  private func directory(_ path: String, in root: OpenDirectory) throws(TargetError) -> OpenDirectory {
    var directory = root
    for component in path.utf8.split(separator: UInt8(ascii: "/")) {
      let name = String(Substring(component))
      let place = "\(directory.path)/\(name)"
      guard mkdirat(directory.descriptor, name, 0o777) == 0 || errno == EEXIST else {
        throw TargetError(place, errno: errno)
      }
      do { directory = try directory.directory(name) } catch { throw TargetError(reading: error) }
    }
    return directory
  }
}

/// What is free for users without privileges, in bytes; `nil` for a file system that can't say: it has no blocks at all.
func freeBytes(_ path: String) -> Int? {
  var space = statvfs()
  guard statvfs(path, &space) == 0, space.f_blocks > 0 else { return nil }
  return Int(space.f_bavail) * Int(space.f_frsize)
}
