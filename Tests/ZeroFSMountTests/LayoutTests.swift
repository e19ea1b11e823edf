import Foundation
import Testing

@Suite struct LayoutTests {
  private func names(_ path: String) throws -> Set<String> {
    Set(try FileManager.default.contentsOfDirectory(atPath: path))
  }

  private func text(_ path: String) throws -> String {
    String(decoding: try read(path, 0..<100_000).get(), as: UTF8.self)
  }

  @Test func directoriesAppearWhenTheyAreLookedUp() throws {
    let scratch = try mounted()
    let own = try names(scratch.point)
    #expect(try text(scratch.path("copy3/files/2")) == "3 2\n")
    let inode = try #require(attributes(scratch.path("copy3/files/2")))
    #expect(attributes(scratch.path("duplicate3/files/2"))?.st_ino == inode.st_ino)
    #expect(attributes(scratch.path("copy4/files/2"))?.st_ino != inode.st_ino)
    // One name for each, the one that was looked up last.
    #expect(try names(scratch.point) == own.union(["duplicate3", "copy4"]))
    #expect(attributes(scratch.path("copy3/..")).map { $0.st_ino } == 1)
    #expect(attributes(scratch.path("sub/copy3")) == nil && attributes(scratch.path("copy3/copy4")) == nil)
    let another = try mounted()
    #expect(attributes(another.path("duplicate3/files/2"))?.st_ino == inode.st_ino)
  }

  @Test func refusalsAreExplained() throws {
    let scratch = try mounted()
    let own = try names(scratch.point)
    #expect(attributes(scratch.path("copy13")) == nil && errno == ENOENT)
    #expect(attributes(scratch.path("other13")) == nil && errno == ENOENT)
    #expect(
      scratch.logged.split(separator: "\n").map { $0.hasSuffix("ENOENT for copy13: unlucky") } == [true])
    #expect(try names(scratch.point) == own)
    #expect(try text(scratch.path(".zerofs/log")).hasSuffix("Z ENOENT for copy13: unlucky\n"))
  }

  /// A name may hold what forges a line of the log or colours a terminal.
  @Test func namesAreLoggedInOneLine() throws {
    let scratch = try mounted()
    #expect(attributes(scratch.path("refused\nzerofs: all is well\u{1b}[31m")) == nil && errno == ENOENT)
    let name = #"refused\nzerofs: all is well\u{1b}[31m"#
    for log in [scratch.logged, try text(scratch.path(".zerofs/log"))] {
      #expect(log.split(separator: "\n").count == 1 && log.contains("ENOENT for \(name): \(name) is refused"))
      #expect(!log.dropLast().unicodeScalars.contains { $0.value < 32 })
    }
  }

  @Test(arguments: [[], ["--cached"]]) func reports(arguments: [String]) throws {
    let scratch = try Scratch()
    let outcome = try run(
      program("MountFixture"), [scratch.sources, scratch.point, "--log-file", scratch.log] + arguments)
    try #require(outcome.status == 0, "\(outcome.output)")
    #expect(try !names(scratch.point).contains(".zerofs"))
    #expect(try names(scratch.path(".zerofs")) == ["log", "version"])
    #expect(try text(scratch.path(".zerofs/version")) == "fixture\n")
    // Composed at each open, whatever the kernel remembers.
    #expect(attributes(scratch.path(".zerofs/log"))?.st_size == 0)
    _ = attributes(scratch.path("copy13"))
    let said = try text(scratch.path(".zerofs/log"))
    #expect(said.contains("unlucky"))
    #expect(attributes(scratch.path(".zerofs/log"))?.st_size == said.utf8.count)
  }

  /// More layouts than are kept composed, from many threads at once.
  @Test func manyAtOnce() async throws {
    let scratch = try mounted()
    let numbers = Array(14..<94)
    let point = scratch.point
    try await withThrowingTaskGroup(of: [UInt].self) { group in
      for start in 0..<8 {
        group.addTask {
          var inodes = [UInt](repeating: 0, count: numbers.count)
          for step in 0..<(2 * numbers.count) {
            let index = (step + start * 10) % numbers.count
            let path = "\(point)/copy\(numbers[index])/files/\(index % 14)"
            let expected = "\(numbers[index]) \(index % 14)\n"
            #expect(try read(path, 0..<100).get() == Array(expected.utf8))
            let inode = try #require(attributes(path)).st_ino
            #expect(inodes[index] == 0 || inodes[index] == inode)
            inodes[index] = inode
          }
          return inodes
        }
      }
      let first = try await group.next()
      for try await inodes in group { #expect(inodes == first) }
    }
  }

  @Test func openFilesOutliveTheirTree() throws {
    let scratch = try mounted()
    let descriptor = open(scratch.path("copy2/files/1"), O_RDONLY | O_CLOEXEC)
    defer { close(descriptor) }
    for number in 14..<94 { #expect(attributes(scratch.path("copy\(number)/files/0")) != nil) }
    var bytes = [UInt8](repeating: 0, count: 10)
    #expect(pread(descriptor, &bytes, 10, 0) == 4 && bytes[..<4].elementsEqual("2 1\n".utf8))
    #expect(try names(scratch.path("copy2/files")) == ["0", "1", "2"])
  }
}
