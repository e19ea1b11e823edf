import Bytes
import FoundationEssentials
import Glibc
import HuggingFace

/// What processes that share a tree leave for one another in its root: a mark of who began, the part of the manifest of who
/// finished, and in the end, by whoever finds all parts, the manifest.
struct ShareLedger {
  let root: OpenDirectory
  let origin: Manifest.Origin
  let share: Share
  /// How many files the tree has.
  let treeFiles: Int

  private static let prefix = ".zerofs-manifest."

  /// Whether a file in the root is the manifest, or what its making leaves.
  static func isManifest(_ name: String) -> Bool { name == Manifest.name || name.hasPrefix(prefix) }

  static func partName(_ share: Share) -> String { partName(share.rank, of: share.world) }
  private static func partName(_ rank: Int, of world: Int) -> String { "\(prefix)\(rank)-of-\(world).json" }
  private static func markName(_ rank: Int, of world: Int) -> String { "\(prefix)\(rank)-of-\(world).begun" }

  // MARK: beginning

  /// Says that this share is being written, unless another checkpoint is.
  ///
  /// Everyone leaves its mark first and looks at all of them then, so that of two who begin at once one at least sees the other.
  ///
  /// - Returns: when, in seconds by the clock of the file system.
  /// - Throws: `TargetError`.
  func begin() throws -> Int {
    let mark = Self.markName(share.rank, of: share.world)
    try check(mark)
    try write(Manifest(origin: origin, treeFiles: nil, files: []), mark)
    for name in try root.names() where Self.isManifest(name) && !name.hasSuffix("-partial") {
      try check(name)
    }
    return root.status(mark)?.st_mtim.tv_sec ?? 0
  }

  /// - Throws: `TargetError.inTheWay` if the manifest, part or mark `name` is there and of another checkpoint.
  func check(_ name: String) throws(TargetError) {
    let manifest: Manifest?
    do { manifest = try read(name) } catch { throw .inTheWay(path: error.path, why: error.why) }
    if let manifest, !manifest.origin.agrees(with: origin) {
      throw .inTheWay(
        path: "\(root.path)/\(name)",
        why:
          "describes another checkpoint: layout \(manifest.origin.layout), made from \(manifest.origin.source.path)"
      )
    }
  }

  /// `nil` where there is none: another process may have joined the parts and removed it.
  private func read(_ name: String) throws(ManifestError) -> Manifest? {
    if root.status(name) == nil { return nil }
    do { return try Manifest(path: "\(root.path)/\(name)") } catch {
      if root.status(name) == nil { return nil }
      throw error
    }
  }

  // MARK: finishing

  /// Writes the manifest of `files`, or the part of it. Whoever finds all parts joins them; several may, to the same end.
  ///
  /// - Returns: whether the manifest is there: no share is missing.
  /// - Throws: `TargetError`.
  func finish(_ files: [Manifest.File]) throws -> Bool {
    if share.world == 1 {
      try write(manifest(try joined(files)), Manifest.name)
      // Of killed runs that shared the work in another way.
      for name in try root.names() where name.hasPrefix(Self.prefix) { root.remove(name) }
      return true
    }
    try write(manifest(files), Self.partName(share))
    root.remove(Self.markName(share.rank, of: share.world))
    var all: [Manifest.File] = []
    for rank in 0..<share.world {
      let part = Self.partName(rank, of: share.world)
      try check(part)
      guard let manifest = try read(part) else { return isComplete }
      all += manifest.files
    }
    try write(manifest(try joined(all)), Manifest.name)
    for rank in 0..<share.world {
      root.remove(Self.partName(rank, of: share.world))
      root.remove(Self.markName(rank, of: share.world))
    }
    return true
  }

  private func manifest(_ files: [Manifest.File]) -> Manifest {
    Manifest(origin: origin, treeFiles: treeFiles, files: files)
  }

  /// With the files that the manifest names already: other `--files` were written before.
  private func joined(_ files: [Manifest.File]) throws -> [Manifest.File] {
    let own = Set(files.map(\.path))
    let others = try read(Manifest.name)?.files ?? []
    return files + others.filter { !own.contains($0.path) }
  }

  private func write(_ manifest: Manifest, _ name: String) throws {
    // Several shares may join theirs at once: each under a name of its own.
    let target = TargetFile(name, in: root, partialStem: Self.partName(share))
    _ = try target.write(manifest.file, ByteProgress(totalBytes: manifest.file.count))
    // Without its name on the disk it says nothing.
    do { try root.sync() } catch {
      root.remove(name)
      throw error
    }
  }

  // MARK: the others

  private var isComplete: Bool { root.status(Manifest.name) != nil }

  /// The ranks that neither finished nor began about when this one did, after `seconds` at the latest.
  ///
  /// - Parameter begun: what `begin` returned. Marks that are much older are those of killed runs.
  func unseen(begun: Int, after seconds: Double) -> [Int] {
    let deadline = ContinuousClock.now + .seconds(seconds)
    while !isComplete {
      let unseen = (0..<share.world).filter { rank in
        if root.status(Self.partName(rank, of: share.world)) != nil { return false }
        let mark = root.status(Self.markName(rank, of: share.world))
        return mark.map { $0.st_mtim.tv_sec < begun - Self.startSpread } ?? true
      }
      if unseen.isEmpty { return [] }
      // The parts may have been joined while they were looked for.
      if ContinuousClock.now >= deadline { return isComplete ? [] : unseen }
      usleep(200_000)
    }
    return []
  }

  /// Seconds within which a launcher starts all of its processes.
  private static let startSpread = 600
}

extension OpenDirectory {
  /// Makes what is in it last.
  ///
  /// - Throws: `TargetError`.
  func sync() throws(TargetError) {
    // EINVAL: a file system that has nothing to sync there.
    if fsync(descriptor) != 0 && errno != EINVAL { throw TargetError(path, errno: errno) }
  }
}
