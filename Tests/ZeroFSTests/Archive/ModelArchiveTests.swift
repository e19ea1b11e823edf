import Foundation
import Testing

@testable import Bytes
@testable import Checkpoints
@testable import HuggingFace
@testable import Store

@Suite struct ModelArchiveTests {
  private let directory: TemporaryDirectory

  init() throws { directory = try TemporaryDirectory() }

  /// A model directory that takes no model to make: elements of every width, `count` of each type.
  private func model(_ types: [(String, Int)], count: Int, seed: UInt64 = 1) throws -> HuggingFaceDirectory {
    var generator = SeededGenerator(seed: seed)
    var (entries, start): ([String], Int) = ([], 0)
    for (type, width) in types {
      entries.append(
        #""\#(type)":{"dtype":"\#(type)","shape":[\#(count)],"data_offsets":[\#(start),\#(start + count * width)]}"#
      )
      start += count * width
    }
    // As weights are: some of the bytes are alike.
    let data = (0..<start).map { $0 % 2 == 0 ? UInt8.random(in: 0...255, using: &generator) : UInt8($0 % 7) }
    try directory.write("config.json", #"{"model_type":"llama"}"#.utf8)
    try directory.write(
      "model.safetensors", safetensors(header: "{\(entries.joined(separator: ","))}", data: data))
    return try HuggingFaceDirectory(path: directory.path)
  }

  private static let types = [("BF16", 2), ("F32", 4), ("U8", 1), ("F64", 8)]
  private var path: String { directory.path + "/x.zarc" }

  private func writer(_ model: HuggingFaceDirectory, to path: String? = nil, level: Int? = nil) throws
    -> ArchiveWriter
  {
    let tree = FileTree([FileTree.Entry("latest") { VirtualFile("step") }], modified: timespec())
    let origin = Manifest.Origin(
      zerofs: "1", layout: "tp1", options: LayoutName("tp1")!.options, source: SourceReport(model))
    return try ArchiveWriter(model, tree, to: path ?? self.path, origin: origin, level: level)
  }

  @discardableResult
  private func write(_ writer: ArchiveWriter, jobs: Int = 2) throws -> [UInt8] {
    let progress = ByteProgress(totalBytes: writer.sourceBytes)
    let size = try writer.write(jobs: jobs, progress)
    #expect(progress.doneBytes == writer.sourceBytes)
    let bytes = try contents(writer.path)
    #expect(bytes.count == size)
    return bytes
  }

  private func contents(_ path: String) throws -> [UInt8] {
    let file = try SourceFile(path: path)
    return try file.bytes(0..<file.size)
  }

  private func bytes(_ archive: ModelArchive, _ name: String = "model.safetensors") throws -> [UInt8] {
    let file = try archive.open(name)
    return try file.bytes(0..<file.size)
  }

  @Test func roundTrip() throws {
    let model = try model(Self.types, count: 150_001)
    try write(writer(model))
    let archive = try ModelArchive(path: path)
    #expect(archive.options == LayoutName("tp1")?.options)
    for name in ["config.json", "model.safetensors"] {
      #expect(try bytes(archive, name) == contents("\(directory.path)/\(name)"))
      #expect(archive.holds(name))
    }
    #expect(!archive.holds("model.safetensors.index.json"))
    #expect(throws: ReadError.self) { try archive.open("x") }
    let again = try HuggingFaceDirectory(archive)
    #expect(SourceReport(again).isSame(as: SourceReport(model)))
    let widths = archive.manifest.members[1].parts.map(\.width)
    #expect(widths == [1, 2, 4, 1, 8])
  }

  @Test func sameForAnyNumberOfJobs() throws {
    let model = try model(Self.types, count: 50_000)
    let one = try write(writer(model), jobs: 1)
    unlink(path)
    #expect(try write(writer(model), jobs: 9) == one)
    #expect(try write(writer(model, to: directory.path + "/y", level: 19)).count <= one.count)
  }

  /// A window of up to a frame comes from one or two frames: the others may be anything.
  @Test func windowsTouchTwoFrames() throws {
    let model = try model([("BF16", 2)], count: 2_000_000)
    let whole = try contents(directory.path + "/model.safetensors")
    let archived = try write(writer(model))
    let archive = try ModelArchive(path: path)
    let (table, member) = (archive.frames.table, archive.manifest.members[1])
    var generator = SeededGenerator(seed: 4)
    for _ in 0..<12 {
      let start = Int.random(in: 0..<whole.count, using: &generator)
      let end = min(whole.count, start + Int.random(in: 1...archive.manifest.frameSize, using: &generator))
      let frames = table.frame(at: member.offset + start)...table.frame(at: member.offset + end - 1)
      // The header of the file is a frame of its own.
      #expect(frames.count <= 2 || start < member.parts[0].size)
      var bytes = archived
      for frame in 0..<(table.count - 1) where !frames.contains(frame) {
        for place in table.compressed[frame]..<table.compressed[frame + 1] { bytes[place] = 0xAA }
      }
      let other = try ModelArchive(path: try directory.write("y.zarc", bytes))
      #expect(
        try other.open(member.name).bytes(start..<end) == Array(whole[start..<end]), "\(start)..<\(end)")
    }
  }

  /// Any damage is an error, or is where no file of the model is.
  @Test(arguments: [UInt64(1), 2, 3])
  func mutations(seed: UInt64) throws {
    var generator = SeededGenerator(seed: seed)
    let model = try model(Self.types, count: 5000)
    let whole = try contents(directory.path + "/model.safetensors")
    let archived = try write(writer(model))
    var (failed, passed) = (0, 0)
    for _ in 0..<400 {
      var bytes = archived
      let tail = bytes.count - 200..<bytes.count
      for _ in 0..<Int.random(in: 1...3, using: &generator) {
        let index = Int.random(in: Bool.random(using: &generator) ? bytes.indices : tail, using: &generator)
        switch Int.random(in: 0..<3, using: &generator) {
        case 0: bytes[index] = UInt8.random(in: 0...255, using: &generator)
        case 1: bytes[index] ^= 1 << UInt8.random(in: 0..<8, using: &generator)
        default: bytes[index] = bytes[Int.random(in: bytes.indices, using: &generator)]
        }
      }
      switch Int.random(in: 0..<20, using: &generator) {
      case 0: bytes.removeSubrange(Int.random(in: 0..<bytes.count, using: &generator)...)
      case 1: bytes.insert(7, at: Int.random(in: 0..<bytes.count, using: &generator))
      default: break
      }
      do {
        let archive = try ModelArchive(path: try directory.write("y.zarc", bytes))
        #expect(try self.bytes(archive) == whole, "seed \(seed)")
        passed += 1
      } catch is ArchiveError { failed += 1 } catch is ReadError { failed += 1 }
      // Nor do findings crash.
      if let archive = try? ModelArchive(path: directory.path + "/y.zarc") {
        for against in [nil, model.path] {
          _ = try? ArchiveVerifier(archive).verify(
            against: against.map { try DiskDirectory($0) }, jobs: 1, ByteProgress(totalBytes: 0))
        }
      }
    }
    #expect(failed > 100 && passed > 0, "seed \(seed): \(failed) failed, \(passed) passed")
  }

  /// Someone else's manifest, with checksums that are right.
  @Test(
    arguments: [
      ("its frames have 0 bytes", #""frameSize" : 1048576"#, #""frameSize" : 0"#),
      ("its frames have -1 bytes", #""frameSize" : 1048576"#, #""frameSize" : -1"#),
      (
        "its frames have 9223372036854775807 bytes", #""frameSize" : 1048576"#,
        #""frameSize" : 9223372036854775807"#
      ),
      ("has a frame of 10000 bytes", #""frameSize" : 1048576"#, #""frameSize" : 8192"#),
      ("has a part of 10000 bytes at", #""width" : 2"#, #""width" : 9"#),
      ("has a part of 10000 bytes at", #""width" : 2"#, #""width" : 0"#),
      ("has an element in two frames", #""width" : 2"#, #""width" : 3"#),
      ("doesn't start and end with a frame", #""size" : 10000,"#, #""size" : 9998,"#),
      ("has a part of -10000 bytes", #""size" : 10000,"#, #""size" : -10000,"#),
      ("has a part of 9223372036854775807 bytes", #""size" : 10000,"#, #""size" : 9223372036854775807,"#),
      ("bytes and parts of", #""size" : 75269"#, #""size" : 75270"#),
      ("bytes and parts of", #""size" : 75269"#, #""size" : 9223372036854775807"#),
      ("its manifest can't be read", #""members""#, #""numbers""#),
      ("the size of its manifest is 8589934591", nil, "77777777777"),
      ("a file in it is called ../config.json", #""name" : "config.json""#, #""name" : "../config.json""#),
      ("or two are", #""name" : "config.json""#, #""name" : "model.safetensors""#),
      ("is not behind the file in front of it", #""offset" : "#, #""offset" : -"#),
      ("its last member isn't", nil, "name"),
    ] as [(String, String?, String)])
  func malformed(why: String, text: String?, replacement: String) throws {
    try write(writer(try model(Self.types, count: 5000)))
    try rewritten { last in
      if let text {
        let size = try #require(TarHeader(last)).size
        let old = String(decoding: last[512..<(512 + size)], as: UTF8.self)
        #expect(old.contains(text), "\(old)")
        last = try ArchiveLayout.member(Manifest.name, old.replacing(text, with: replacement))
      } else if replacement == "name" {
        last[0] = 0
      } else {
        let size = try #require(UInt(replacement, radix: 8))
        last = try TarHeader(name: Manifest.name, size: Int(size)).bytes + last.dropFirst(512)
      }
    }
    let error = try #require(throws: ArchiveError.self) { try ModelArchive(path: directory.path + "/y.zarc") }
    #expect("\(error)".contains(why), "\(error)")
  }

  /// The archive at `path` with another last frame, at `y.zarc`.
  private func rewritten(_ change: (inout [UInt8]) throws -> Void) throws {
    let archive = try ModelArchive(path: path)
    let table = archive.frames.table
    var last = try archive.frames.decompress(table.count - 1)
    try change(&last)
    var other = SeekTable()
    for frame in 0..<(table.count - 1) {
      let places = table.places(frame)
      other.append(compressed: places.compressed.count, decompressed: places.decompressed.count)
    }
    let frame = FrameCompressor(level: nil).compress(last)
    other.append(compressed: frame.count, decompressed: last.count)
    let kept = try contents(path)[..<table.compressed[table.count - 1]]
    try directory.write("y.zarc", kept + frame + other.bytes)
  }

  // MARK: verifying

  private func findings(_ name: String, against model: HuggingFaceDirectory? = nil) throws -> [String] {
    let against = try model.map { try DiskDirectory($0.path) }
    return try ArchiveVerifier(ModelArchive(path: "\(directory.path)/\(name)"))
      .verify(against: against, jobs: 1, ByteProgress(totalBytes: 0)).map(\.description)
  }

  /// One bit of every byte: of frames, of their tables, of what only zstd, tar and Python need.
  @Test func everyByteCounts() throws {
    let model = try model(Self.types, count: 40)
    let archived = try write(writer(model))
    #expect(try findings("x.zarc") == [] && findings("x.zarc", against: model) == [])
    func everything(_ name: String) throws -> [UInt8] {
      let archive = try ModelArchive(path: "\(directory.path)/\(name)")
      return try archive.contents(0..<archive.frames.table.size)
    }
    let (whole, end) = (
      try everything("x.zarc"), try #require(ModelArchive(path: path).frames.table.compressed.last)
    )
    var passed: [Int] = []
    for place in archived.indices {
      var bytes = archived
      bytes[place] ^= 1 << UInt8(place % 8)
      try directory.write("y.zarc", bytes)
      do {
        guard try findings("y.zarc").isEmpty else { continue }
        // A bit that zstd leaves unused: all that anybody gets from the archive is what it was.
        #expect(try place < end && everything("y.zarc") == whole, "byte \(place)")
        passed.append(place)
      } catch is ArchiveError {}
    }
    #expect(passed.count < archived.count / 50)
  }

  /// An archive whose checksums are right, and which tar can't restore.
  @Test func restoredByNobody() throws {
    try write(writer(try model(Self.types, count: 5000)))
    try rewritten { $0.removeLast(600) }
    #expect(try findings("y.zarc") == ["zerofs-manifest.json: isn't followed by the end of a tar archive"])
    try rewritten { last in
      let text = String(decoding: try last[512..<(512 + #require(TarHeader(last)).size)], as: UTF8.self)
      last =
        try ArchiveLayout.member(
          Manifest.name, text.replacing(RestoreProgram.checksum.hexadecimal, with: "00000000"))
        + TarHeader.end
    }
    #expect(try findings("y.zarc") == ["restore.py: is damaged: its checksum is not the manifest's"])
  }

  /// A model of the same size whose elements start elsewhere: parts that aren't whole elements are no crash.
  @Test func otherOrderOfTensors() throws {
    try write(writer(try model([("U8", 1), ("F32", 4)], count: 300_001)))
    let other = try model([("F32", 4), ("U8", 1)], count: 300_001)
    #expect(try !findings("x.zarc", against: other).isEmpty)
  }

  // MARK: bounds

  /// Frames longer than any that is written would be kept, 32 of them.
  @Test func keepsFewBytes() throws {
    let model = try model([("U8", 1)], count: 5000)
    try write(writer(model))
    try rewritten { last in
      let text = String(decoding: try last[512..<(512 + #require(TarHeader(last)).size)], as: UTF8.self)
      last = try ArchiveLayout.member(
        Manifest.name, text.replacing(#""frameSize" : 1048576"#, with: #""frameSize" : 4194304"#))
    }
    let error = try #require(throws: ArchiveError.self) { try ModelArchive(path: directory.path + "/y.zarc") }
    #expect("\(error)".contains("its frames have 4194304 bytes"))
  }

  @Test func damagedManifest() throws {
    var bytes = try write(writer(try model([("U8", 1)], count: 10)))
    let start = try #require(try ModelArchive(path: path).frames.table.compressed.dropLast().last)
    bytes[start + 40] ^= 1
    try directory.write("y.zarc", bytes)
    let error = try #require(throws: ArchiveError.self) { try ModelArchive(path: directory.path + "/y.zarc") }
    #expect(error.exitStatus == .source && "\(error)".contains("the frame of its manifest is damaged"))
  }

  @Test func nothingInIt() throws {
    try directory.write("y.zarc", SeekTable().bytes)
    #expect(throws: ArchiveError.malformed(path: directory.path + "/y.zarc", why: "it holds nothing")) {
      try ModelArchive(path: directory.path + "/y.zarc")
    }
  }

  // MARK: writing

  @Test func existing() throws {
    let model = try model(Self.types, count: 5000)
    let writer = try writer(model)
    let progress = ByteProgress(totalBytes: 0)
    #expect(try writer.existing(progress) == nil)
    #expect(try write(writer).count == writer.existing(progress))
    // Other weights under the same header.
    let other = try self.writer(self.model(Self.types, count: 5000, seed: 2))
    func inTheWay(_ writer: ArchiveWriter, _ why: String) throws {
      let error = TargetError.inTheWay(
        path: path, why: "is there, and isn't the archive that would be written: \(why)")
      #expect(throws: error) { try writer.existing(progress) }
    }
    try inTheWay(other, "model.safetensors differs")
    var bytes = try contents(path)
    bytes[bytes.count / 2] ^= 1
    try directory.write("x.zarc", bytes)
    try inTheWay(self.writer(self.model(Self.types, count: 5000)), "model.safetensors differs")
    try directory.write("x.zarc", "mine".utf8)
    try inTheWay(self.writer(self.model(Self.types, count: 5000)), "it has 4 bytes")
  }

  /// An archive in the model's directory, under a name of what belongs to models, is no part of the model.
  @Test func insideTheModel() throws {
    let model = try model(Self.types, count: 5000)
    let path = directory.path + "/x.json"
    let bytes = try write(writer(model, to: path))
    #expect(try writer(model, to: path).existing(ByteProgress(totalBytes: 0)) == bytes.count)
    #expect(try ModelArchive(path: path).names() == ["config.json", "model.safetensors"])
  }

  @Test func names() throws {
    _ = try model([("U8", 1)], count: 10)
    let name = String(repeating: "n", count: 101)
    rename(directory.path + "/model.safetensors", directory.path + "/" + name)
    try directory.write("model.safetensors.index.json", #"{"weight_map":{"U8":"\#(name)"}}"#.utf8)
    #expect(throws: ArchiveError.name("hf/\(name)")) {
      try writer(HuggingFaceDirectory(path: directory.path))
    }
  }

  @Test(arguments: [1, 4])
  func changedSource(jobs: Int) throws {
    let writer = try writer(try model([("BF16", 2)], count: 2_000_000))
    try directory.write("model.safetensors", [1])
    #expect(throws: ReadError.self) { try writer.write(jobs: jobs, ByteProgress(totalBytes: 0)) }
    #expect(
      try Set(FileManager.default.contentsOfDirectory(atPath: directory.path)) == [
        "config.json", "model.safetensors",
      ])
  }
}
