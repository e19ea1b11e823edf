import Foundation
import Testing

@testable import Bytes
@testable import Mount
@testable import Store
@testable import Torch

@Suite struct TreeVerifierTests {
  private let directory: TemporaryDirectory
  private var root: String { directory.path + "/out" }

  init() throws { directory = try TemporaryDirectory() }

  private static let source = MemorySource((0..<30_000).map { UInt8(truncatingIfNeeded: $0 * 11 + $0 >> 8) })
  private static let tree = FileTree(
    [
      FileTree.Entry("latest") { VirtualFile("step") },
      FileTree.Entry("step/a.pt") {
        TorchArchive(
          .dict([
            "weight": .tensor(
              .concatenating([source.tensor([50, 60], .bfloat16), .zeros([14, 60], .bfloat16)]),
              requiresGrad: true),
            "state": .dict([
              "master": .tensor(source.tensor([3000], .bfloat16).cast(to: .float32), requiresGrad: false),
              "moment": .tensor(.zeros([3000], .float32), requiresGrad: false),
            ]),
          ]), name: "a"
        ).file()
      },
    ], modified: timespec())

  private func write() throws -> Manifest {
    let writer = TreeWriter(Self.tree, to: root, origin: try TreeWriterTests.origin())
    _ = try writer.write(writer.work(), jobs: 1, ByteProgress(totalBytes: 0))
    return try #require(try Manifest.of(tree: root))
  }

  private func contents(_ path: String) throws -> [UInt8] {
    let file = try SourceFile(path: "\(root)/\(path)")
    return try file.bytes(0..<file.size)
  }

  private func put(_ path: String, _ bytes: [UInt8]) throws {
    try Data(bytes).write(to: URL(fileURLWithPath: "\(root)/\(path)"))
  }

  private func findings(_ strictness: TreeVerifier.Strictness = .bytes) throws -> [String] {
    try TreeVerifier(root).verify(Self.tree, strictness, jobs: 2, ByteProgress(totalBytes: 0)).findings.map(
      \.description)
  }

  private func findings(_ manifest: Manifest, _ tree: FileTree?) throws -> [String] {
    try TreeVerifier(root).verify(manifest, tree, jobs: 2, ByteProgress(totalBytes: 0)).findings.map(
      \.description)
  }

  @Test func agrees() throws {
    let manifest = try write()
    #expect(try findings() == [] && findings(manifest, nil) == [] && findings(manifest, Self.tree) == [])
    let report = try TreeVerifier(root).verify(Self.tree, .tensors, jobs: 1, ByteProgress(totalBytes: 0))
    #expect(report.files == 1 && report.agreeingTensors == 2 && report.findings.isEmpty)
    // As a mount has it: without the checksums.
    try put("step/a.pt", try Self.tree.entries[1].file().bytes())
    #expect(try findings() == [])
    #expect(try findings(manifest, nil) != [])
  }

  /// Where a flipped byte is decides which tensor and element is named; that there is one is always found.
  @Test(arguments: [UInt64(1), 2, 3])
  func flippedBytes(seed: UInt64) throws {
    var generator = SeededGenerator(seed: seed)
    let manifest = try write()
    let original = try contents("step/a.pt")
    let file = try TorchFile(MemorySource(original), size: original.count)
    for _ in 0..<60 {
      var bytes = original
      let offset = Int.random(in: bytes.indices, using: &generator)
      bytes[offset] ^= 1 << UInt8.random(in: 0..<8, using: &generator)
      try put("step/a.pt", bytes)
      let tensor = file.value.tensors.first { tensor in
        tensor.extents.contains {
          if case .tensor(let run) = $0 {
            (run.offset..<(run.offset + $0.count)).contains(offset)
          } else {
            false
          }
        }
      }
      for found in try [findings(), findings(manifest, Self.tree), findings(manifest, nil)] {
        #expect(!found.isEmpty && found.allSatisfy { $0.hasPrefix("step/a.pt: ") }, "seed \(seed), \(offset)")
        if let tensor, tensor.path != "state.moment" {
          #expect(found.contains { $0.contains(": \(tensor.path): ") }, "seed \(seed), \(offset): \(found)")
        }
      }
    }
  }

  @Test func elements() throws {
    let manifest = try write()
    var bytes = try contents("step/a.pt")
    let weight = try #require(
      try TorchFile(MemorySource(bytes), size: bytes.count).value.tensors.first { $0.path == "weight" })
    guard case .tensor(let run) = try #require(weight.extents.first) else { return }
    let element = run.offset + 2 * (7 * 60 + 9)
    let value = UInt16(bytes[element]) | UInt16(bytes[element + 1]) << 8
    bytes[element] ^= 1
    let padding = run.offset + 2 * (60 * 60 + 5)
    func text(_ value: UInt16) -> String { "0x" + String(0x10000 + Int(value), radix: 16).dropFirst() }
    let start = "step/a.pt: weight: 1 of"
    let end = "elements differs, [7, 9]: \(text(value ^ 1)) instead of \(text(value))"
    try put("step/a.pt", bytes)
    #expect(
      try findings() == ["\(start) 3840 \(end)"] && findings(manifest, Self.tree) == ["\(start) 3840 \(end)"])
    #expect(try findings(.tensors) == ["\(start) 3000 \(end)"])
    bytes[element] ^= 1
    bytes[padding] = 1
    try put("step/a.pt", bytes)
    #expect(
      try findings() == ["step/a.pt: weight: 1 of 3840 elements differs, [60, 5]: 0x0001 instead of 0x0000"])
    #expect(try findings(.tensors) == [], "another program's padding")
  }

  @Test func missingAndOtherSizes() throws {
    let manifest = try write()
    try put("latest", Array("steps".utf8))
    unlink("\(root)/step/a.pt")
    let expected = ["latest: has 5 bytes instead of 4", "step/a.pt: is missing (No such file or directory)"]
    #expect(try findings() == expected && findings(manifest, nil) == expected)
    #expect(try findings(.tensors) == [expected[1]])
  }

  @Test func otherFilesOfTorch() throws {
    _ = try write()
    func put(_ value: PickleValue) throws {
      try self.put("step/a.pt", sequential(TorchArchive(value, name: "a").file()).bytes)
    }
    let source = Self.source
    try put(
      .dict([
        "weight": .tensor(source.tensor([64, 60], .float16), requiresGrad: true),
        "state": .dict(["master": .tensor(source.tensor([2999], .float32), requiresGrad: true)]),
      ]))
    #expect(
      try findings(.tensors) == [
        "step/a.pt: weight: is float16 [64, 60] instead of bfloat16 [64, 60]",
        "step/a.pt: state.master: is float32 [2999] instead of float32 [3000]",
      ])
    try put(.dict(["more": .none]))
    #expect(
      try findings(.tensors) == ["step/a.pt: weight: is missing", "step/a.pt: state.master: is missing"])
    try self.put("step/a.pt", [1, 2, 3])
    #expect(try findings(.tensors).count == 1)
  }

  @Test func unreadableModel() throws {
    _ = try write()
    let source = MemorySource([1, 2, 3, 4])
    let tree = FileTree(
      [FileTree.Entry("latest") { VirtualFile(source.tensor([4], .uint8).extents) }], modified: timespec())
    let changed = ReadError.sourceChanged(path: "memory", what: "was changed")
    source.fail(changed)
    #expect(throws: changed) {
      try TreeVerifier(root).verify(tree, .bytes, jobs: 1, ByteProgress(totalBytes: 0))
    }
  }

  @Test func strangers() throws {
    let manifest = try write()
    func strangers() throws -> [String] {
      try TreeVerifier(root).strangers(to: manifest.files.map(\.path)).map(\.description)
    }
    #expect(try strangers() == [])
    try put("more", [])
    try put("step/.a.pt.zerofs-partial", [])
    rename("\(root)/latest", "\(directory.path)/latest")
    symlink("\(directory.path)/latest", "\(root)/latest")
    #expect(
      try strangers() == [
        "latest: is not a file but a symbolic link", "more: does not belong to this checkpoint",
        "step/.a.pt.zerofs-partial: does not belong to this checkpoint",
      ])
  }

  @Test func otherKinds() throws {
    let manifest = try write()
    unlink("\(root)/latest")
    mkfifo("\(root)/latest", 0o644)
    #expect(try findings(manifest, nil) == ["latest: is not a file but a FIFO"])
    unlink("\(root)/latest")
    symlink("nowhere", "\(root)/latest")
    #expect(try findings(manifest, nil) == ["latest: can't be opened (No such file or directory)"])
  }
}
