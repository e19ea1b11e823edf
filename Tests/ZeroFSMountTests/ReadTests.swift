import Bytes
import Foundation
import Mount
import Testing

@testable import MountFixture

@Suite struct ReadTests {
  @Test(arguments: [[], ["--cached"]]) func windowsEqualTheComposition(arguments: [String]) throws {
    let scratch = try arguments.isEmpty ? mounted() : mounted("--cached")
    let seed = UInt64.random(in: 0 ... .max)
    var random = SplitMix(state: seed)
    for name in ["verbatim.pt", "cast.pt", "strided.pt", "sub/dir/sparse.pt", "sub/small.pt"] {
      let file = try scratch.tree().file(name)
      for _ in 0..<15 {
        let start = Int.random(in: 0..<file.count, using: &random)
        let end = min(file.count, start + Int.random(in: 1...(3 << 20), using: &random))
        let bytes = try read(scratch.path(name), start..<end).get()
        #expect(bytes == (try file.bytes(start..<end)), "\(name) \(start)..<\(end), seed \(seed)")
      }
      let beyond = try read(scratch.path(name), (file.count - 1)..<(file.count + 10)).get()
      #expect(beyond.count == 1)
    }
  }

  @Test func aMappingHasTheBytes() throws {
    let scratch = try mounted()
    for name in ["verbatim.pt", "cast.pt"] {
      let file = try scratch.tree().file(name)
      let descriptor = open(scratch.path(name), O_RDONLY)
      defer { close(descriptor) }
      let pointer = mmap(nil, file.count, PROT_READ, MAP_SHARED, descriptor, 0)
      try #require(pointer != MAP_FAILED, "mmap: \(errnoMessage(errno))")
      defer { munmap(pointer, file.count) }
      let mapped = UnsafeRawBufferPointer(start: pointer, count: file.count)
      #expect(Array(mapped) == (try file.bytes(0..<file.count)))
    }
  }

  @Test func parallelReaders() throws {
    let scratch = try mounted()
    let name = scratch.path("cast.pt")
    let file = try scratch.tree().file("cast.pt")
    let whole = try file.bytes(0..<file.count)
    let wrong = Locked<[String]>([])
    DispatchQueue.concurrentPerform(iterations: 16) { reader in
      for pass in 0..<4 {
        let start = (reader * 333_333 + pass * 77_777) % (whole.count - 1)
        let end = min(whole.count, start + 1 << 20)
        if case .success(let bytes) = read(name, start..<end), bytes == Array(whole[start..<end]) { continue }
        wrong.append("reader \(reader) \(start)..<\(end)")
      }
    }
    #expect(wrong.value == [])
  }

  /// Readers that go on where they were, go back, or skip, in requests that change at times. One at a time is read ahead for;
  /// many, half of them with two threads on one handle, have all processors busy (`ReadAhead`).
  @Test(arguments: [1, 24]) func readersInOrder(atATime: Int) throws {
    let scratch = try mounted()
    let seed = UInt64.random(in: 0 ... .max)
    let wholes = try ["cast.pt", "strided.pt", "verbatim.pt", "sub/dir/sparse.pt"].map { name in
      (path: scratch.path(name), bytes: try scratch.tree().file(name).bytes())
    }
    let wrong = Locked<[String]>([])
    let read: @Sendable (Int) -> Void = { reader in
      let (path, whole) = wholes[reader % wholes.count]
      let descriptor = open(path, O_RDONLY)
      defer { close(descriptor) }
      DispatchQueue.concurrentPerform(iterations: atATime == 1 ? 1 : 1 + reader / 4 % 2) { thread in
        var random = SplitMix(state: seed &+ UInt64(reader * 2 + thread))
        var (position, length) = (0, 1 << 18)
        var buffer = [UInt8](repeating: 0, count: 1 << 20)
        for _ in 0..<100 {
          switch Int.random(in: 0..<12, using: &random) {
          case 0: position = Int.random(in: 0..<whole.count, using: &random)
          case 1: length = Int.random(in: 1...buffer.count, using: &random)
          default: break
          }
          let count = pread(descriptor, &buffer, length, position)
          let end = min(position + length, whole.count)
          let isEqual = whole.withUnsafeBytes {
            memcmp($0.baseAddress! + position, buffer, end - position) == 0
          }
          if count != end - position || !isEqual { wrong.append("\(path) \(position) \(length): \(count)") }
          position = end < whole.count ? end : 0
        }
      }
    }
    if atATime == 1 {
      for reader in 0..<12 { read(reader) }
    } else {
      DispatchQueue.concurrentPerform(iterations: atATime, execute: read)
    }
    #expect(wrong.value.prefix(5) == [], "seed \(seed)")
  }

  @Test func aProgramRuns() throws {
    let scratch = try mounted()
    #expect(try run(URL(fileURLWithPath: scratch.path("zero_to_fp32.py")), []).output == "executed\n")
  }
}

/// A source that changes under a mount. Pieces of `verbatim.pt` are mapped, those of `cast.pt` are read.
@Suite struct ChangedSourceTests {
  enum Change: CaseIterable { case truncated, grown, rewritten, replaced, removed }

  @Test(arguments: Change.allCases, ["verbatim.pt", "cast.pt", "strided.pt"])
  func readsAreErrors(change: Change, name: String) throws {
    let scratch = try mounted()
    let source = scratch.sources + "/a.bin"
    let window = 100_000..<2_000_000
    let other = try scratch.tree().file("sub/small.pt")
    #expect(failure(scratch.path(name), window) == nil)
    switch change {
    case .truncated: truncate(source, 1 << 20)
    case .grown: truncate(source, 5 << 20)
    case .rewritten:
      let descriptor = open(source, O_WRONLY)
      pwrite(descriptor, [1, 2, 3], 3, 1 << 20)
      close(descriptor)
    case .replaced:
      try Scratch.random(4 << 20).write(to: URL(fileURLWithPath: source + ".new"))
      rename(source + ".new", source)
    case .removed: unlink(source)
    }
    #expect(failure(scratch.path(name), window) == .EIO)
    #expect(failure(scratch.path(name), window) == .EIO)
    #expect(scratch.logged.split(separator: "\n").count == 1, "\(scratch.logged)")
    #expect(scratch.logged.contains(source))
    // The daemon lives, and serves what it can.
    #expect(try read(scratch.path("sub/small.pt"), 0..<other.count).get() == other.bytes(0..<other.count))
  }

  /// The window that follows two reads in order is composed before it is asked for, by a copy if the reader takes its time.
  @Test(.enabled(if: Workers.cores > 1), arguments: ["verbatim.pt", "cast.pt", "strided.pt"])
  func aWindowComposedAheadIsAnError(name: String) throws {
    let scratch = try Scratch()
    let (daemon, own) = (scratch.root + "/daemon's reads", scratch.root + "/own reads")
    #expect(try scratch.mount("--note-reads", daemon).status == 0)
    let descriptor = open(scratch.path(name), O_RDONLY | O_CLOEXEC)
    defer { close(descriptor) }
    var buffer = [UInt8](repeating: 0, count: 1 << 18)
    func next() -> Int {
      // A reader that takes its time.
      usleep(1000)
      return Glibc.read(descriptor, &buffer, buffer.count)
    }
    for _ in 0..<3 { #expect(next() == buffer.count) }
    // The fourth is composed when its last bytes of the source have been read.
    let tree = try Fixture.tree(sources: scratch.sources, notes: own)
    _ = try tree.file(name).bytes((3 * buffer.count)..<(4 * buffer.count))
    let end = try #require(ends(own).max())
    for _ in 0..<1000 where ends(daemon).max() ?? 0 < end { usleep(20_000) }
    #expect(ends(daemon).max() ?? 0 >= end)
    let source = open(scratch.sources + "/a.bin", O_WRONLY | O_CLOEXEC)
    pwrite(source, [1, 2, 3], 3, 3 << 20)
    close(source)
    #expect(next() == -1 && errno == EIO)
    #expect(next() == -1 && errno == EIO)
    #expect(scratch.logged.split(separator: "\n").count == 1, "\(scratch.logged)")
  }

  private func ends(_ notes: String) -> [Int] {
    ((try? String(contentsOfFile: notes, encoding: .utf8)) ?? "").split(separator: "\n").compactMap {
      Int($0)
    }
  }

  @Test func aPieceThatTheKernelCannotCopyIsAnError() throws {
    let scratch = try mounted()
    for start in [0, 5000, 300_000] {
      #expect(failure(scratch.path("truncated.pt"), start..<(start + 2000)) == .EIO)
    }
    // The kernel has answered the reader before the daemon knows of it.
    for _ in 0..<1000 where scratch.logged.isEmpty { usleep(20_000) }
    // Once, whatever the reader tries, and by the name of what failed.
    #expect(scratch.logged.split(separator: "\n").count == 1, "\(scratch.logged)")
    #expect(scratch.logged.contains("EIO for truncated.pt"))
    #expect(scratch.logged.contains(scratch.sources + "/truncated.bin"))
    #expect(try read(scratch.path("sub/small.pt"), 0..<10).get().count == 10)
  }
}

struct SplitMix: RandomNumberGenerator {
  var state: UInt64
  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}
