import Foundation
import Synchronization
import Testing

@testable import Bytes
@testable import Checkpoints
@testable import HuggingFace
@testable import Mount
@testable import Store

@Suite struct TreeWriterTests {
  private let directory: TemporaryDirectory
  private var root: String { directory.path + "/out" }

  init() throws { directory = try TemporaryDirectory() }

  private static let source = MemorySource((0..<100_000).map { UInt8(truncatingIfNeeded: $0 * 7) })
  private static let tree = FileTree(
    [
      FileTree.Entry("latest") { VirtualFile("step") },
      FileTree.Entry("program.py", isExecutable: true) { VirtualFile("#!") },
      FileTree.Entry("step/a.pt") {
        VirtualFile(
          [.zeros(count: 50_000)] + source.tensor([20_000], .bfloat16).cast(to: .float32).extents
            + [.checksum(of: 50_000..<130_000), .zeros(count: 70_000)])
      },
      FileTree.Entry("step/b.pt") { VirtualFile(source.tensor([100_000], .uint8).extents) },
      FileTree.Entry("step/empty") { VirtualFile([]) },
    ], modified: timespec())

  static func origin(layout: String = "tp1", files: String = "") throws -> Manifest.Origin {
    Manifest.Origin(
      zerofs: "1", layout: layout, options: .init(),
      source: try JSONDecoder().decode(
        SourceReport.self, from: Data(#"{"path":"/hf","files":[\#(files)]}"#.utf8)))
  }

  private func writer(
    _ tree: FileTree = tree, layout: String = "tp1", share: Share = .whole, patterns: [String] = []
  ) throws -> TreeWriter {
    TreeWriter(tree, to: root, origin: try Self.origin(layout: layout), share: share, patterns: patterns)
  }

  @discardableResult
  private func write(_ writer: TreeWriter, jobs: Int = 2) throws -> (isComplete: Bool, work: TreeWriter.Work)
  {
    let work = try writer.work()
    let progress = ByteProgress(totalBytes: work.data)
    let outcome = try writer.write(work, jobs: jobs, progress)
    #expect(progress.doneBytes == work.data)
    return (outcome == .complete, work)
  }

  /// Files by path, hidden ones, too.
  private func contents() throws -> [String: [UInt8]] {
    var found: [String: [UInt8]] = [:]
    for path in try FileManager.default.subpathsOfDirectory(atPath: root) {
      if let data = FileManager.default.contents(atPath: "\(root)/\(path)") { found[path] = Array(data) }
    }
    return found
  }

  private func put(_ path: String, _ text: String) throws {
    let url = URL(fileURLWithPath: path)
    try FileManager.default.createDirectory(
      at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
    try Data(text.utf8).write(to: url)
  }

  private func inode(_ path: String) -> UInt {
    var status = stat()
    return lstat("\(root)/\(path)", &status) == 0 ? UInt(status.st_ino) : 0
  }

  @Test func writesAndKeeps() throws {
    let (isComplete, work) = try write(writer())
    #expect(isComplete && work.files == 5 && work.existing == 0 && work.data < work.size)
    let written = try contents()
    #expect(Set(written.keys) == Set(Self.tree.entries.map(\.path) + [Manifest.name]))
    for entry in Self.tree.entries {
      let (bytes, checksum, _) = try sequential(entry.file())
      #expect(written[entry.path] == bytes, "\(entry.path)")
      let file = try #require(try Manifest.of(tree: root)?.files.first { $0.path == entry.path })
      #expect(file == Manifest.File(path: entry.path, size: bytes.count, checksum: checksum))
    }
    let inodes = Self.tree.entries.map { inode($0.path) }
    #expect(try write(writer()).work.existing == 5)
    #expect(Self.tree.entries.map { inode($0.path) } == inodes)
    #expect(try contents() == written)
    #expect(access("\(root)/program.py", X_OK) == 0)
  }

  @Test func slashesBehindTheRoot() throws {
    try write(TreeWriter(Self.tree, to: root + "//", origin: Self.origin()))
    #expect(try contents().count == 6)
  }

  @Test func patterns() throws {
    try write(writer(patterns: ["step/?.pt", "lat*"]))
    #expect(try Manifest.of(tree: root)?.files.map(\.path) == ["latest", "step/a.pt", "step/b.pt"])
    #expect(try write(writer()).work.existing == 3)
    #expect(try Manifest.of(tree: root)?.files.count == 5)
    #expect(throws: TargetError.noSuchFiles(pattern: "c.pt")) {
      try writer(patterns: ["latest", "c.pt"]).work()
    }
  }

  // MARK: shares

  @Test func sharesInAnyOrder() throws {
    for rank in [2, 0, 1] {
      let (isComplete, _) = try write(writer(share: Share(rank: rank, world: 3)))
      #expect(isComplete == (rank == 1))
      #expect(try (Manifest.of(tree: root) != nil) == isComplete)
    }
    #expect(try contents().count == 6, "no parts of the manifest stay")
    #expect(try Manifest.of(tree: root)?.files.map(\.path) == Self.tree.entries.map(\.path))
  }

  /// All come to the end at the same time, where each may join the parts.
  @Test func sharesAtOnce() throws {
    for attempt in 0..<40 {
      let writers = try (0..<4).map { try writer(share: Share(rank: $0, world: 4)) }
      let errors = Mutex<[String]>([])
      let threads = writers.map { writer in
        PosixThread {
          do {
            let work = try writer.work()
            _ = try writer.write(work, jobs: 1, ByteProgress(totalBytes: work.data))
          } catch { errors.withLock { $0.append("\(error)") } }
        }
      }
      for thread in threads { thread?.join() }
      #expect(errors.withLock { $0 } == [], "attempt \(attempt)")
      #expect(try contents().count == 6, "attempt \(attempt)")
      #expect(try Manifest.of(tree: root)?.files.count == 5)
      try FileManager.default.removeItem(atPath: root)
    }
  }

  @Test func killedShares() throws {
    try write(writer(share: Share(rank: 0, world: 3)))
    // Killed in the middle of a file, and of each manifest.
    try put("\(root)/step/.a.pt.zerofs-partial", String(repeating: "x", count: 200_000))
    try put("\(root)/.zerofs-manifest.1-of-3.json.zerofs-partial", "{")
    try put("\(root)/.zerofs-manifest.json.zerofs-partial", "{")
    try write(writer())
    #expect(try contents().count == 6)
    #expect(try Manifest.of(tree: root)?.files.count == 5)
  }

  @Test func partOfAnotherCheckpoint() throws {
    try write(writer(share: Share(rank: 0, world: 2)))
    let part = ".zerofs-manifest.0-of-2.json"
    let text = String(decoding: try #require(try contents()[part]), as: UTF8.self)
    try put("\(root)/\(part)", text.replacing("tp1", with: "tp2"))
    let error = try #require(throws: TargetError.self) {
      try write(writer(share: Share(rank: 1, world: 2)))
    }
    #expect("\(error)".hasPrefix("\(root)/\(part): describes another checkpoint: layout tp2"))
    #expect(try Manifest.of(tree: root) == nil)
  }

  // MARK: errors

  /// Calls `prepare` on a written tree; then nothing may be written, and nothing changed.
  private func inTheWay(_ path: String, _ why: String, _ prepare: () throws -> Void) throws {
    try write(writer())
    try prepare()
    let before = try? contents()
    let error = try #require(throws: TargetError.self) { try write(writer()) }
    guard case .inTheWay(let place, let text) = error else { throw error }
    #expect(place == "\(root)\(path)" && text.contains(why), "\(error)")
    #expect(before == (try? contents()))
  }

  @Test(
    arguments: [
      ("/other", "", "does not belong"), ("/step/other", "", "does not belong"),
      ("/.hidden", "", "does not belong"), ("/directory/a", "", "does not belong"),
      ("/latest", "stop", "other bytes"), ("/latest", "steps", "is not the 4 bytes"),
      ("/step/empty", "x", "is not the 0 bytes"), ("/\(Manifest.name)", "{}", "not a manifest"),
      ("/\(Manifest.name)", "", "not a manifest"),
    ])
  func otherContents(path: String, text: String, why: String) throws {
    try inTheWay(path.hasPrefix("/directory") ? "/directory" : path, why) { try put(root + path, text) }
  }

  @Test func otherKinds() throws {
    try inTheWay("/latest", "is not a file but a directory") {
      unlink("\(root)/latest")
      mkdir("\(root)/latest", 0o755)
    }
    rmdir("\(root)/latest")
    try inTheWay("/latest", "is not a file but a symbolic link") {
      rename("\(root)/latest", directory.path + "/elsewhere")
      symlink(directory.path + "/elsewhere", "\(root)/latest")
    }
    unlink("\(root)/latest")
    try inTheWay("/step", "is not a directory but a file") {
      try FileManager.default.removeItem(atPath: "\(root)/step")
      try put("\(root)/step", "")
    }
    try FileManager.default.removeItem(atPath: root)
    try put(root, "mine")
    #expect(throws: TargetError.inTheWay(path: root, why: "is not a directory")) { try writer().work() }
  }

  @Test func otherLayout() throws {
    try write(writer())
    let error = try #require(throws: TargetError.self) { try writer(layout: "tp2").work() }
    #expect("\(error)".contains("another checkpoint: layout tp1, made from /hf"))
  }

  @Test func unwritable() throws {
    let missing = directory.path + "/a/b"
    #expect(throws: TargetError.unwritable(path: missing, errno: ENOENT)) {
      try TreeWriter(Self.tree, to: missing, origin: Self.origin()).work()
    }
    try directory.write("file", [])
    let below = directory.path + "/file/b"
    #expect(throws: TargetError.unwritable(path: below, errno: ENOTDIR)) {
      try TreeWriter(Self.tree, to: below, origin: Self.origin()).work()
    }
    // Nobody makes files in /proc.
    #expect(throws: TargetError.unwritable(path: "/proc/zerofs", errno: ENOENT)) {
      try write(TreeWriter(Self.tree, to: "/proc/zerofs", origin: Self.origin()))
    }
  }

  @Test func tooSmall() throws {
    let huge = TensorExpression(source: Self.source, offset: 0, shape: [1 << 58], dtype: .float32)
    let tree = FileTree([FileTree.Entry("huge") { VirtualFile(huge.extents) }], modified: timespec())
    let error = try #require(throws: TargetError.self) { try writer(tree).work() }
    guard case .tooSmall(root, 1 << 60, let free) = error else { throw error }
    #expect(free < 1 << 60 && access(root, F_OK) != 0)
    let holes = FileTree(
      [FileTree.Entry("holes") { VirtualFile([.zeros(count: 1 << 42)]) }], modified: timespec())
    try write(writer(holes))
    var status = stat()
    #expect(stat("\(root)/holes", &status) == 0 && status.st_size == 1 << 42 && status.st_blocks == 0)
  }

  // MARK: others that write, and what they plant

  @Test func busy() throws {
    let share = try Share(rank: 0, world: 1 << 10)
    mkdir(root, 0o755)
    let name = try #require(try writer(share: share).work().items.first?.entry.path)
    let partial = TargetFile.partialName(of: "\(root)/\(name)")
    try put(partial, "of the other run")
    let descriptor = open(partial, O_RDONLY)
    defer { close(descriptor) }
    #expect(flock(descriptor, LOCK_EX) == 0)
    #expect(throws: TargetError.busy(path: "\(root)/\(name)")) { try write(writer(share: share)) }
    #expect(FileManager.default.contents(atPath: partial) == Data("of the other run".utf8))
  }

  /// Who writes all of a tree has its root for itself; who writes a share has it with the others.
  @Test(arguments: [(LOCK_EX, false), (LOCK_SH, true)])
  func locked(lock: Int32, shares: Bool) throws {
    mkdir(root, 0o755)
    let descriptor = open(root, O_RDONLY)
    #expect(flock(descriptor, lock) == 0)
    #expect(throws: TargetError.busy(path: root)) { try write(writer()) }
    let share = try Share(rank: 0, world: 2)
    if shares {
      try write(writer(share: share))
    } else {
      #expect(throws: TargetError.busy(path: root)) { try write(writer(share: share)) }
    }
    close(descriptor)
    if !shares { try write(writer()) }
  }

  /// Two checkpoints into one directory: looked at before either wrote, written one behind the other.
  @Test func otherCheckpointMeanwhile() throws {
    let (one, other) = (try writer(), try writer(layout: "tp2"))
    let (work, otherWork) = (try one.work(), try other.work())
    _ = try one.write(work, jobs: 1, ByteProgress(totalBytes: 0))
    let before = try contents()
    let error = try #require(throws: TargetError.self) {
      try other.write(otherWork, jobs: 1, ByteProgress(totalBytes: 0))
    }
    #expect("\(error)".contains("another checkpoint: layout tp1"))
    #expect(try contents() == before)
  }

  /// Shares of two checkpoints at once: whoever is later sees the other's mark, before it finished anything.
  @Test(arguments: [0, 1])
  func otherSharesMeanwhile(rank: Int) throws {
    let other = try writer(layout: "tp2", share: Share(rank: rank, world: 2))
    let work = try other.work()
    mkdir(root, 0o755)
    let ledger = ShareLedger(
      root: try OpenDirectory(path: root), origin: try Self.origin(), share: try Share(rank: 0, world: 2),
      treeFiles: 5)
    _ = try ledger.begin()
    let error = try #require(throws: TargetError.self) {
      try other.write(work, jobs: 1, ByteProgress(totalBytes: 0))
    }
    #expect("\(error)".contains("another checkpoint: layout tp1"))
    #expect(try !contents().keys.contains { Self.tree.entries.map(\.path).contains($0) })
  }

  /// A sign of the others: parts, and marks of about the same time.
  @Test func unseen() throws {
    func unseen(_ rank: Int) throws -> TreeWriter.Outcome {
      let writer = try writer(share: Share(rank: rank, world: 3))
      return try writer.write(writer.work(), jobs: 1, ByteProgress(totalBytes: 0))
    }
    #expect(try unseen(0) == .waiting(unseen: [1, 2]))
    let ledger = ShareLedger(
      root: try OpenDirectory(path: root), origin: try Self.origin(), share: try Share(rank: 2, world: 3),
      treeFiles: 5)
    _ = try ledger.begin()
    #expect(try unseen(0) == .waiting(unseen: [1]))
    var times = [
      timeval(tv_sec: time(nil) - 3600, tv_usec: 0), timeval(tv_sec: time(nil) - 3600, tv_usec: 0),
    ]
    #expect(utimes("\(root)/.zerofs-manifest.2-of-3.begun", &times) == 0)
    #expect(try unseen(0) == .waiting(unseen: [1, 2]), "of a killed run")
    #expect(try unseen(2) == .waiting(unseen: [1]))
    #expect(try unseen(1) == .complete)
    #expect(try contents().count == 6, "no mark stays")
  }

  /// A link, a pipe or another file's second name in the place of an unfinished file is not written to.
  @Test(arguments: ["symbolic link", "hard link", "FIFO", "directory"], [1, 2])
  func planted(kind: String, world: Int) throws {
    let share = try Share(rank: 0, world: world)
    let victim = try directory.write("victim", "precious".utf8)
    mkdir(root, 0o755)
    let name = try #require(try writer(share: share).work().items.first?.entry.path)
    let partial = TargetFile.partialName(of: "\(root)/\(name)")
    mkdir("\(root)/step", 0o755)
    switch kind {
    case "symbolic link": symlink(victim, partial)
    case "hard link": link(victim, partial)
    case "FIFO": mkfifo(partial, 0o644)
    default: mkdir(partial, 0o755)
    }
    let error = try #require(throws: TargetError.self) { try write(writer(share: share)) }
    guard case .inTheWay(partial, _) = error else { throw error }
    #expect(FileManager.default.contents(atPath: victim) == Data("precious".utf8))
  }

  /// Nor is a directory that is a link followed, even one that came after the look at it.
  @Test func plantedDirectory() throws {
    let writer = try writer()
    let work = try writer.work()
    mkdir(root, 0o755)
    mkdir(directory.path + "/elsewhere", 0o755)
    symlink(directory.path + "/elsewhere", "\(root)/step")
    #expect(throws: TargetError.inTheWay(path: "\(root)/step", why: "is not a directory but a symbolic link"))
    {
      try writer.work()
    }
    #expect(throws: TargetError.self) { try writer.write(work, jobs: 1, ByteProgress(totalBytes: 0)) }
    #expect(try FileManager.default.contentsOfDirectory(atPath: directory.path + "/elsewhere") == [])
  }

  /// The file that a failing source ends in isn't there, nor is a part of it; the next run goes on.
  @Test func changedSource() throws {
    let source = MemorySource([UInt8](repeating: 7, count: 100_000))
    let changed = ReadError.sourceChanged(path: "memory", what: "was changed")
    let tree = FileTree(
      [
        FileTree.Entry("a") { VirtualFile([.literal([1])] + source.tensor([100_000], .uint8).extents) },
        FileTree.Entry("b") { VirtualFile("b") },
      ], modified: timespec())
    source.fail(changed)
    #expect(throws: changed) { try write(writer(tree)) }
    #expect(Set(try contents().keys).isSubset(of: ["b"]))
    source.fail(nil)
    #expect(try write(writer(tree)).isComplete)
  }
}
