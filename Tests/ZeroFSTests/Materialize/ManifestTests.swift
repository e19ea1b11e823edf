import Foundation
import Testing

@testable import Bytes
@testable import Checkpoints
@testable import HuggingFace
@testable import Store

@Suite struct ManifestTests {
  @Test func roundTrip() throws {
    let directory = try TemporaryDirectory()
    #expect(try Manifest.of(tree: directory.path) == nil)
    let manifest = Manifest(
      origin: try TreeWriterTests.origin(), treeFiles: 3,
      files: ["b", "a/é"].map { .init(path: $0, size: 1 << 60, checksum: CRC32()) })
    try directory.write(Manifest.name, try manifest.file.bytes())
    let read = try #require(try Manifest.of(tree: directory.path))
    #expect(read.files == manifest.files && read.files.map(\.path) == ["a/é", "b"])
    #expect(read.origin.agrees(with: manifest.origin))
    #expect(read.files[0].crc32 == "00000000" && read.treeFiles == 3 && read.bytes == 1 << 61)
  }

  @Test(arguments: ["", "[]", "{}", "\u{0}", #"{"files":[],"origin":{}}"#])
  func malformed(text: String) throws {
    let directory = try TemporaryDirectory()
    let path = try directory.write(Manifest.name, text.utf8)
    let error = try #require(throws: ManifestError.self) { try Manifest.of(tree: directory.path) }
    #expect(error.path == path && error.why.hasPrefix("not a manifest of zerofs"))
    #expect(error.exitStatus == .source)
  }

  /// What a file records is data: no path leads out of the tree, and sizes can be added.
  @Test(
    arguments: [
      (["../a"], 1, "leaves the tree"), (["a/../../b"], 1, "leaves the tree"),
      (["/etc/shadow"], 1, "leaves the tree"),
      (["a//b"], 1, "leaves the tree"), (["."], 1, "leaves the tree"), ([""], 1, "leaves the tree"),
      // To Swift the slash and the accent behind it are one character.
      (["../\u{301}a"], 1, "leaves the tree"), ([#"a\u0000b"#], 1, "leaves the tree"),
      (["a", "a"], 1, "is in it twice"), (["a"], -1, "has -1 bytes"), (["a", "b"], Int.max, "bytes"),
    ] as [([String], Int, String)])
  func dangerous(paths: [String], size: Int, why: String) throws {
    let directory = try TemporaryDirectory()
    let files = paths.map { #"{"path":"\#($0)","size":\#(size),"crc32":"00000000"}"# }.joined(separator: ",")
    let origin = try TreeWriterTests.origin().json
    try directory.write(Manifest.name, #"{"origin":\#(origin),"files":[\#(files)]}"#.utf8)
    let error = try #require(throws: ManifestError.self) { try Manifest.of(tree: directory.path) }
    #expect(error.why.contains(why), "\(error)")
  }

  @Test(arguments: ["a", "a/b", "...", "a/..b", "é"])
  func harmless(path: String) { #expect(staysBelow(path)) }

  @Test func agreement() throws {
    let file = #"{"name":"a","size":1,"modified":"x","sha256":"1"}"#
    let origin = try TreeWriterTests.origin(files: file)
    #expect(
      origin.agrees(with: try TreeWriterTests.origin(files: file.replacing("\"x\"", with: "\"y\""))), "moved")
    for (part, other) in [("\"a\"", "\"b\""), (":1,", ":2,"), ("\"1\"", "\"2\"")] {
      #expect(
        !origin.agrees(with: try TreeWriterTests.origin(files: file.replacing(part, with: other))), "\(part)")
    }
    #expect(!origin.agrees(with: try TreeWriterTests.origin(layout: "tp2", files: file)))
    #expect(!origin.agrees(with: try TreeWriterTests.origin(files: "\(file),\(file)")))
  }

  @Test func ofMounts() throws {
    let directory = try TemporaryDirectory()
    #expect(try Manifest.Origin.ofMount(directory.path) == nil)
    mkdir(directory.path + "/.zerofs", 0o755)
    try directory.write(".zerofs/origin.json", try TreeWriterTests.origin(layout: "tp4").json.utf8)
    #expect(try Manifest.Origin.ofMount(directory.path)?.layout == "tp4")
    try directory.write(".zerofs/origin.json", "{}".utf8)
    #expect(throws: VerificationError.self) { try Manifest.Origin.ofMount(directory.path) }
  }
}
