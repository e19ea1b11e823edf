import Foundation
import Synchronization
import Testing

@testable import Bytes

/// What is read ahead is what windows need, and nothing of it changes what they hold.
@Suite struct PrefetchTests {
  /// A file that notes what is read of it.
  private final class NotedSource: ByteSource {
    let file: SourceFile
    let reads = Mutex<[Range<Int>]>([])

    init(_ file: SourceFile) { self.file = file }

    var name: String { file.name }
    var mapping: UnsafeRawBufferPointer? { nil }
    func verify() throws(ReadError) { try file.verify() }
    func sourceRanges(of range: Range<Int>) -> [SourceRange] { file.sourceRanges(of: range) }

    func read(at offset: Int, into buffer: UnsafeMutableRawBufferPointer) throws(ReadError) {
      reads.withLock { $0.append(offset..<(offset + buffer.count)) }
      try file.read(at: offset, into: buffer)
    }
  }

  private let path = NSTemporaryDirectory() + "zerofs-prefetch-\(UUID().uuidString)"
  private let file: SourceFile
  private let source: NotedSource
  private let tensor: TensorExpression

  init() throws {
    let bytes = [UInt8]((0..<(2 * 1024 * 1536)).map { UInt8(truncatingIfNeeded: $0 &* 2_654_435_761 >> 7) })
    try Data(bytes).write(to: URL(fileURLWithPath: path))
    file = try SourceFile(path: path)
    unlink(path)
    source = NotedSource(file)
    tensor = TensorExpression(source: source, offset: 0, shape: [1024, 1536], dtype: .bfloat16)
  }

  private var files: [VirtualFile] {
    let columns = tensor.columns(100..<356)
    return [
      tensor.cast(to: .float32).extents, columns.extents, columns.cast(to: .float32).extents,
      tensor.transposed().extents,
      [.literal([1, 2, 3])] + tensor.extents + [.zeros(count: 10_000)] + columns.extents,
    ].map { VirtualFile($0) }
  }

  @Test func windowsNeedNothingElse() throws {
    for (index, file) in files.enumerated() {
      for _ in 0..<20 {
        let start = Int.random(in: 0..<file.count)
        let window = start..<min(file.count, start + .random(in: 1...300_000))
        source.reads.withLock { $0 = [] }
        _ = try? file.copied(window)
        let ranges = file.sourceRanges(of: window).map(\.bytes)
        for read in source.reads.withLock({ $0 }) {
          #expect(
            ranges.contains { $0.lowerBound <= read.lowerBound && read.upperBound <= $0.upperBound },
            "file \(index), window \(window): \(read) isn't in \(ranges)")
        }
        #expect(ranges.allSatisfy { $0.lowerBound >= 0 && $0.upperBound <= self.file.size })
      }
    }
  }

  @Test func noWindowsNeedNothing() {
    let file = VirtualFile([.literal([1, 2, 3]), .zeros(count: 5_000)])
    #expect(file.sourceRanges(of: 0..<file.count).isEmpty)
    #expect(files[0].sourceRanges(of: 0..<0).isEmpty)
  }

  /// A reader that stops and goes elsewhere gets the same bytes with a cursor as without.
  @Test func theCursorGoesWithTheReader() throws {
    let next = FileTree.Entry("next") { [files] in files[1] }
    let entry = FileTree.Entry("first", next: next) { [files] in files[0] }
    let prefetcher = Prefetcher()
    var cursor = PrefetchCursor(files[0], of: entry)
    for _ in 0..<50 {
      let start = Int.random(in: 0..<files[0].count)
      _ = cursor.advance(to: start, prefetcher)
      let window = start..<min(files[0].count, start + 4096)
      #expect(try files[0].copied(window) == reference(window))
    }
  }

  /// Who opens the file that is read next goes on from where the reader before had asked; nobody else does.
  @Test func theNextHandleGoesOn() throws {
    // Without sources: what of a source is in the page cache already decides how far ahead it is asked for.
    let files = (1...3).map { VirtualFile([.zeros(count: $0 * 1_000_000)]) }
    let last = FileTree.Entry("last") { files[2] }
    let next = FileTree.Entry("next", next: last) { files[1] }
    let entry = FileTree.Entry("first", next: next) { files[0] }
    let (prefetcher, cursors) = (Prefetcher(), PrefetchCursors())
    let first = cursors.cursor(for: files[0], of: entry)
    #expect(!cursors.cursor(for: files[1], of: next).withLock { $0.isAhead })
    _ = cursors.advance(first, to: 0, prefetcher)
    try #require(first.withLock { $0.isAhead })
    let second = cursors.cursor(for: files[1], of: next)
    #expect(second.withLock { $0.isAhead })
    let other = FileTree.Entry("next", next: last) { files[1] }
    #expect(!cursors.cursor(for: files[1], of: other).withLock { $0.isAhead })
    // Wherever it goes from there, it asks for what it reads.
    for _ in 0..<50 {
      let start = Int.random(in: 0..<files[1].count)
      _ = cursors.advance(second, to: start, prefetcher)
      #expect(!cursors.cursor(for: files[0], of: entry).withLock { $0.isAhead })
    }
  }

  /// A file is composed once for those who look it up, open it and read ahead of it; that of another tree never is its.
  @Test func aFileIsComposedOnce() {
    let count = LockedValue(0)
    func entry(_ text: String, isVolatile: Bool = false) -> FileTree.Entry {
      FileTree.Entry("file", isVolatile: isVolatile) {
        count.withLock { $0 += 1 }
        return VirtualFile(text)
      }
    }
    func timesComposed(_ entries: [FileTree.Entry]) -> Int {
      let before = count.withLock { $0 }
      for entry in entries + entries { #expect(entry.file().count == 4) }
      return count.withLock { $0 } - before
    }
    // Sixteen files are kept, and other tests compose theirs meanwhile.
    #expect((0..<100).contains { _ in timesComposed([entry("1234"), entry("file")]) == 2 })
    #expect(timesComposed([entry("1234", isVolatile: true)]) == 2)
    let (one, other) = (entry("one"), entry("other!"))
    #expect([one, other, one, other].map { $0.file().count } == [3, 6, 3, 6])
  }

  /// A zip reader's first read but one is of the file's end, far beyond what is asked for of its start.
  @Test func theEndOfAFileIsAskedForWithItsStart() throws {
    try withColdFile(count: 64 << 20) { file, _ in
      let tensor = TensorExpression(source: file, offset: 0, shape: [file.size / 2], dtype: .bfloat16)
      let prefetcher = Prefetcher()
      var cursor = PrefetchCursor(VirtualFile(tensor.extents))
      cursor.advance(to: 0, prefetcher)
      for _ in 0..<1000 where !file.isResident(file.size - 4096..<file.size) { usleep(10_000) }
      #expect(file.isResident(file.size - 4096..<file.size))
    }
  }

  /// What was read ahead a moment ago and left the page cache since is read ahead for the next reader again.
  @Test func whatWasDroppedIsAskedForAgain() throws {
    try withColdFile(count: 16 << 20) { file, drop in
      let prefetcher = Prefetcher()
      for _ in 0..<2 {
        for _ in 0..<1000 where !file.isResident(0..<file.size) {
          prefetcher.request([SourceRange(file, 0..<file.size)])
          usleep(10_000)
        }
        #expect(file.isResident(0..<file.size))
        drop()
      }
    }
  }

  /// What is in the page cache is left alone, once that is known.
  @Test func aFileInMemoryIsWarm() throws {
    _ = try file.contents()
    let ranges = [SourceRange(file, 0..<file.size)]
    let prefetcher = Prefetcher()
    while case let answer = prefetcher.request(ranges), answer != .warm {
      #expect(answer == .asked || answer == .full)
      sched_yield()
    }
    #expect(!prefetcher.isCold(ranges[0]))
    // Someone had to wait: it is looked at again.
    prefetcher.noteWait(for: ranges)
    #expect(prefetcher.isCold(ranges[0]))
  }

  @Test func whatIsInMemoryIsKnown() throws {
    let range = 4096..<file.size - 1
    _ = try file.contents()
    #expect(file.isResident(range) && !file.isMissing(4096..<4097))
    #expect(files[0].isResident(0..<min(4096, files[0].count)))
    let path = FileManager.default.temporaryDirectory.appending(path: "zerofs-resident-\(UUID())").path
    defer { try? FileManager.default.removeItem(atPath: path) }
    // A hole, of which nothing was ever read.
    #expect(FileManager.default.createFile(atPath: path, contents: nil))
    truncate(path, 1 << 20)
    let other = try SourceFile(path: path)
    #expect(!other.isResident(0..<other.size))
    #expect(other.isMissing(4096..<4097) && !other.isMissing((1 << 20)..<((1 << 20) + 1)))
    #expect(other.isResident(0..<0))
  }

  @Test func warmingReadsEachPieceOnce() throws {
    let warming = Warming(files + files)
    #expect(warming.bytes == file.size)
    #expect(Set(warming.pieces.map(\.bytes)).count == warming.pieces.count)
    let progress = ByteProgress(totalBytes: warming.bytes)
    try warming.run(progress)
    #expect(progress.doneBytes == file.size)
  }

  /// Calls `body` with a file of which the page cache has nothing, and what drops it again. On tmpfs it is kept.
  private func withColdFile(count: Int, _ body: (_ file: SourceFile, _ drop: () -> Void) throws -> Void)
    throws
  {
    let path = NSTemporaryDirectory() + "zerofs-cold-\(UUID().uuidString)"
    try Data(count: count).write(to: URL(fileURLWithPath: path))
    let descriptor = open(path, O_RDONLY)
    defer {
      close(descriptor)
      unlink(path)
    }
    fsync(descriptor)
    let drop = { _ = posix_fadvise(descriptor, 0, 0, POSIX_FADV_DONTNEED) }
    drop()
    try body(try SourceFile(path: path), drop)
  }

  /// Of the first file: bf16 widened to fp32.
  private func reference(_ window: Range<Int>) throws -> [UInt8] {
    let bytes = try file.contents()
    return window.map { position in
      let (element, byte) = position.quotientAndRemainder(dividingBy: 4)
      return byte < 2 ? 0 : bytes[element * 2 + byte - 2]
    }
  }
}

extension VirtualFile {
  /// Not checked against the file system: the file has no name any more.
  fileprivate func copied(_ window: Range<Int>) throws -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: window.count)
    try bytes.withUnsafeMutableBytes { try copy(window, into: $0) }
    return bytes
  }
}
