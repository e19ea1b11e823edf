@testable import Checkpoints
import Foundation
import Synchronization
import Testing

@testable import Bytes
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
    let isComplete = try writer.write(work, jobs: jobs, progress)
    #expect(progress.doneBytes == work.data)
    return (isComplete, work)
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
    #expect(throws: TargetError.inTheWay(path: "\(root)/\(part)", why: "describes another checkpoint")) {
      try write(writer(share: Share(rank: 1, world: 2)))
    }
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
    try inTheWay("/latest", "does not belong") {
      unlink("\(root)/latest")
      mkdir("\(root)/latest", 0o755)
    }
    rmdir("\(root)/latest")
    try inTheWay("/latest", "is not the 4 bytes") {
      rename("\(root)/latest", directory.path + "/elsewhere")
      symlink(directory.path + "/elsewhere", "\(root)/latest")
    }
    unlink("\(root)/latest")
    try inTheWay("/step", "does not belong") {
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

  @Test func busy() throws {
    mkdir(root, 0o755)
    try put("\(root)/.latest.zerofs-partial", "of the other run")
    let descriptor = open("\(root)/.latest.zerofs-partial", O_RDONLY)
    defer { close(descriptor) }
    #expect(flock(descriptor, LOCK_EX) == 0)
    #expect(throws: TargetError.busy(path: "\(root)/latest")) { try write(writer()) }
    #expect(try contents()[".latest.zerofs-partial"] == Array("of the other run".utf8))
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
