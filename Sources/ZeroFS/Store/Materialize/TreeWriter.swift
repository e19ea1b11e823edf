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
    while root.count > 1 && root.hasSuffix("/") { root.removeLast() }
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
    /// Bytes on disk that a killed run left, which are written over.
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
    var items: [Item] = []
    for entry in chosen {
      let file = entry.file()
      var status = stat()
      let exists = lstat(path(entry), &status) == 0
      if exists, status.st_mode & S_IFMT != S_IFREG || Int(status.st_size) != file.count {
        throw .inTheWay(path: path(entry), why: "is not the \(file.count) bytes that would be written")
      }
      let remains = lstat(target(entry).partialPath, &status) == 0 ? Int(status.st_blocks) * 512 : 0
      items.append(
        Item(entry: entry, size: file.count, data: file.dataBytes, exists: exists, remains: remains))
    }
    let work = Work(items: share.items(of: items, bytes: \.data, name: \.entry.path))
    var space = statvfs()
    // No blocks at all: a file system that can't say.
    if statvfs(existingRoot, &space) == 0, space.f_blocks > 0 {
      let free = Int(space.f_bavail) * Int(space.f_frsize)
      guard work.missingData <= free else {
        throw .tooSmall(path: root, neededBytes: work.missingData, freeBytes: free)
      }
    }
    return work
  }

  /// Writes the files, and the manifest once all shares are there. What an earlier run finished is compared, and kept.
  ///
  /// - Returns: whether the manifest was written: no other share is missing.
  /// - Throws: `TargetError`; `ReadError` of a source.
  package func write(_ work: Work, jobs: Int, _ progress: ByteProgress) throws -> Bool {
    try makeDirectories(work)
    let files = try Workers.run(jobs, work.items, progress) { item in
      let file = item.entry.file()
      let target = target(item.entry)
      let checksum =
        item.exists ? try target.checksum(ifEqual: file, progress) : try target.write(file, progress)
      guard let checksum else {
        throw TargetError.inTheWay(path: target.path, why: "holds other bytes than would be written")
      }
      return Manifest.File(path: item.entry.path, size: item.size, checksum: checksum)
    }
    for directory in directories(of: work.items.map(\.entry)) { try sync(directory) }
    return try finish(files)
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
        try TargetFile.write(bytes, to: descriptor, at: written, path: root)
        written += bytes.count
      }
    }
    fsync(descriptor)
    return written == 0 ? nil : Double(written) / ((ContinuousClock.now - start) / .seconds(1))
  }

  /// `O_TMPFILE`, which the Glibc module hides.
  private static let unnamed: Int32 = 0o20000000 | O_DIRECTORY

  // MARK: the directory

  private func path(_ entry: FileTree.Entry) -> String { "\(root)/\(entry.path)" }

  private func target(_ entry: FileTree.Entry) -> TargetFile {
    TargetFile(path(entry), isExecutable: entry.isExecutable)
  }

  private static func matches(_ path: String, _ pattern: String) -> Bool { fnmatch(pattern, path, 0) == 0 }

  /// The root, or where it will be made.
  private var existingRoot: String {
    if access(root, F_OK) == 0 { return root }
    let directory = TargetFile.split(root).directory
    return directory.isEmpty ? "." : String(directory)
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
    guard status.st_mode & S_IFMT == S_IFDIR else { throw .inTheWay(path: root, why: "is not a directory") }
    guard access(root, W_OK | X_OK) == 0 else { throw .unwritable(path: root, errno: errno) }
    for name in [Manifest.name, partName(share)] {
      if let manifest = try Manifest.read("\(root)/\(name)"), !manifest.origin.agrees(with: origin) {
        throw .inTheWay(
          path: "\(root)/\(name)",
          why:
            "describes another checkpoint: layout \(manifest.origin.layout), made from \(manifest.origin.source.path)"
        )
      }
    }
    let files = tree.entries.flatMap { [path($0), target($0).partialPath] }
    try checkDirectory(root, files: Set(files), directories: Set(directories(of: tree.entries)))
  }

  private func checkDirectory(_ path: String, files: Set<String>, directories: Set<String>)
    throws(TargetError)
  {
    for name in try Self.names(in: path) where path != root || !Self.isManifest(name) {
      let child = "\(path)/\(name)"
      var status = stat()
      let isDirectory = stat(child, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
      guard (isDirectory ? directories : files).contains(child) else {
        throw .inTheWay(path: child, why: "does not belong to this checkpoint")
      }
      if isDirectory { try checkDirectory(child, files: files, directories: directories) }
    }
  }

  private static func names(in path: String) throws(TargetError) -> [String] {
    guard let directory = opendir(path) else { throw .unwritable(path: path, errno: errno) }
    defer { closedir(directory) }
    var names: [String] = []
    while let entry = readdir(directory) {
      let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
        String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
      }
      if name != "." && name != ".." { names.append(name) }
    }
    return names
  }

  /// The root and all below it that `entries` are in; each comes before what is in it.
  private func directories(of entries: [FileTree.Entry]) -> [String] {
    var all: Set<String> = [root]
    for entry in entries {
      var parent = root
      for component in entry.path.split(separator: "/").dropLast() {
        parent += "/\(component)"
        all.insert(parent)
      }
    }
    return all.sorted()
  }

  private func makeDirectories(_ work: Work) throws(TargetError) {
    for directory in directories(of: work.items.map(\.entry))
    where mkdir(directory, 0o777) != 0 && errno != EEXIST {
      throw TargetError(directory, errno: errno)
    }
  }

  private func sync(_ directory: String) throws(TargetError) {
    let descriptor = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard descriptor >= 0 else { throw .unwritable(path: directory, errno: errno) }
    defer { close(descriptor) }
    // EINVAL: a file system that has nothing to sync there.
    if fsync(descriptor) != 0 && errno != EINVAL { throw TargetError(directory, errno: errno) }
  }

  // MARK: the manifest

  private static let partPrefix = ".zerofs-manifest."

  private static func isManifest(_ name: String) -> Bool {
    name == Manifest.name || name.hasPrefix(partPrefix)
  }

  private func partName(_ share: Share) -> String { "\(Self.partPrefix)\(share.rank)-of-\(share.world).json" }

  /// Each share leaves its part; who finds all of them joins them. Several may, to the same end.
  private func finish(_ files: [Manifest.File]) throws -> Bool {
    if share.world == 1 {
      try write(Manifest(origin: origin, files: try joined(files)), Manifest.name)
      // Of killed runs that shared the work in another way.
      for name in try Self.names(in: root) where name.hasPrefix(Self.partPrefix) { unlink("\(root)/\(name)") }
      return true
    }
    try write(Manifest(origin: origin, files: files), partName(share))
    var all: [Manifest.File] = []
    let parts = try (0..<share.world).map { partName(try Share(rank: $0, world: share.world)) }
    for part in parts {
      guard let manifest = try Manifest.read("\(root)/\(part)") else {
        // Another process may have joined them just now.
        return access("\(root)/\(Manifest.name)", F_OK) == 0
      }
      guard manifest.origin.agrees(with: origin) else {
        throw TargetError.inTheWay(path: "\(root)/\(part)", why: "describes another checkpoint")
      }
      all += manifest.files
    }
    try write(Manifest(origin: origin, files: try joined(all)), Manifest.name)
    for part in parts { unlink("\(root)/\(part)") }
    return true
  }

  /// With the files that the manifest names already: other `--files` were written before.
  private func joined(_ files: [Manifest.File]) throws -> [Manifest.File] {
    let own = Set(files.map(\.path))
    let others = try Manifest.read("\(root)/\(Manifest.name)")?.files ?? []
    return files + others.filter { !own.contains($0.path) }
  }

  private func write(_ manifest: Manifest, _ name: String) throws {
    // Several shares may join theirs at once: each under a name of its own.
    let target = TargetFile("\(root)/\(name)", partialName: partName(share))
    _ = try target.write(manifest.file, ByteProgress(totalBytes: manifest.file.count))
    try sync(root)
  }
}
