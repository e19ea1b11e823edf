import Testing

@testable import Bytes
@testable import Mount
@testable import Torch

@Suite struct TorchFileTests {
  private static func read(_ bytes: [UInt8]) throws -> TorchFile {
    try TorchFile(MemorySource(bytes, name: "x.pt"), size: bytes.count)
  }

  private static func archive(_ value: PickleValue) throws -> [UInt8] {
    try sequential(TorchArchive(value, name: "x").file()).bytes
  }

  private static let everyKind = PickleValue.dict([
    "constants": .list([.none, .bool(true), .bool(false), .float(-0.1), .bytes([0, 127, 255]), .string("é")]),
    "ints": .ints([0, 255, 256, 65535, 65536, -1, 1 << 31, -(1 << 31) - 1, .max, .min]),
    "tuples": .tuple([.tuple([]), .tuple([.none]), .tuple([.none, .none]), .size([1, 2, 3])]),
    "sets": .set([.string("a"), .int(1)]),
    "dicts": .dict(items: [(.int(3), .dict(items: [])), (.tuple([.int(1)]), .list([]))]),
    "ordered": .build(
      .orderedDict([("a", .orderedDict([])), ("b", .int(1))]), state: .dict(["_metadata": .none])),
    "object": .object("argparse", "Namespace", [("dtype", .dtype(.bfloat16))]),
    "module": .orderedDict([
      (
        "a.weight",
        .tensor(MemorySource([1, 2, 3, 4, 5, 6, 7, 8]).tensor([1, 2], .float32), requiresGrad: true)
      ),
      ("a.scale", .literalTensor([9, 10], .bfloat16, shape: [])),
    ]),
    "states": .list([.tensor(.zeros([0, 4], .int64), requiresGrad: false)]),
  ])

  @Test func roundTrip() throws {
    let bytes = try TorchFileTests.archive(TorchFileTests.everyKind)
    let file = try TorchFileTests.read(bytes)
    #expect(try TorchFileTests.archive(file.value) == bytes)
    #expect(
      file.records.map(\.name) == [
        "x/data.pkl", "x/.format_version", "x/.storage_alignment", "x/byteorder", "x/data/0", "x/data/1",
        "x/data/2",
        "x/version", "x/.data/serialization_id",
      ])
    #expect(file.records.allSatisfy { $0.crc == zlibChecksum(bytes[$0.bytes]) })
    #expect(bytes[file.records[3].bytes].elementsEqual("little".utf8))
  }

  @Test func tensorsByPath() throws {
    let tensors = try TorchFileTests.read(TorchFileTests.archive(TorchFileTests.everyKind)).value.tensors
    #expect(tensors.map(\.path) == ["module.a.weight", "module.a.scale", "states[0]"])
    #expect(tensors.map(\.shape) == [[1, 2], [], [0, 4]])
    #expect(tensors.map(\.dtype) == [.float32, .bfloat16, .int64])
    #expect(try VirtualFile(tensors[0].extents).bytes() == [1, 2, 3, 4, 5, 6, 7, 8])
    #expect(try VirtualFile(tensors[1].extents).bytes() == [9, 10])
    #expect(TorchFileTests.everyKind.tensors.map(\.path) == tensors.map(\.path))
  }

  // MARK: - Zip

  /// Without the zip64 records, as Python's zipfile writes a small archive.
  @Test func withoutZip64() throws {
    var bytes = try TorchFileTests.archive(.int(5))
    bytes.removeSubrange((bytes.count - 98)..<(bytes.count - 22))
    guard case .int(5) = try TorchFileTests.read(bytes).value else { throw TestError() }
    bytes[bytes.count - 2] = 3
    bytes += Array("end".utf8)
    #expect(try TorchFileTests.read(bytes).records.count == 6)
  }

  private struct TestError: Error {}

  /// The bytes of a virtual file as a source.
  private final class VirtualSource: ByteSource {
    let file: VirtualFile
    init(_ file: VirtualFile) { self.file = file }
    var name: String { "virtual" }
    var mapping: UnsafeRawBufferPointer? { nil }
    func verify() {}
    func read(at offset: Int, into buffer: UnsafeMutableRawBufferPointer) throws(ReadError) {
      buffer.copyBytes(from: try file.bytes(offset..<(offset + buffer.count)))
    }
  }

  @Test func recordsBeyond4GiB() throws {
    let source = VirtualSource(
      TorchArchive(
        .list([
          .tensor(.zeros([5 << 30], .uint8), requiresGrad: false), .literalTensor([1], .uint8, shape: [1]),
        ]),
        name: "big"
      ).file())
    let file = try TorchFile(source, size: source.file.count)
    let tensors = file.value.tensors
    #expect(tensors.map(\.shape) == [[5 << 30], [1]])
    #expect(try VirtualFile(tensors[1].extents).bytes() == [1])
    #expect(file.records[5].bytes.lowerBound > 5 << 30)
  }

  @Test func largerThanAnyCheckpointHas() throws {
    func error(_ file: VirtualFile) throws -> String {
      let source = VirtualSource(file)
      return "\(try #require(throws: TorchFileError.self) { try TorchFile(source, size: file.count) })"
    }
    let text = String(repeating: "a", count: 1 << 25)
    #expect(
      try error(TorchArchive(.string(text), name: "x").file()).contains("the pickle has 33554442 bytes"))
    let end: [UInt8] = [0x50, 0x4B, 5, 6, 0, 0, 0, 0, 1, 0, 1, 0, 1, 0, 0, 4, 0, 0, 0, 0, 0, 0]
    #expect(
      try error(VirtualFile([.zeros(count: 1 << 27), .literal(end)])).contains(
        "zip directory: it has 67108865 bytes"))
  }

  /// Offsets are from the first byte of the first directory entry, or from the end of the file.
  @Test(
    arguments: [
      ("cut off or no zip file", .end(-1), []),
      ("there is no zip64 end record", .end(-98), [0]),
      ("zip64 end record: 56 bytes from byte", .end(-34), [255, 255, 255, 255, 255, 255, 255, 255]),
      ("zip directory: 9223372036854775807 bytes", .end(-58), [255, 255, 255, 255, 255, 255, 255, 127]),
      ("should follow", .end(-66), [99]),
      ("should have been before it in the zip directory", .directory(0), [0]),
      ("compressed or encrypted", .directory(8), [9]),
      ("compressed or encrypted", .directory(10), [8]),
      ("compressed or encrypted", .directory(20), [99]),
      ("x/data.pkl: 4294967294 bytes", .directory(20), [254, 255, 255, 255, 254, 255, 255, 255]),
      ("x/data.pkl: 30 bytes from byte 4294967294", .directory(42), [254, 255, 255, 255]),
      ("there is no local header of x/data.pkl", .directory(42), [1]),
      ("is not UTF-8", .directory(46), [255]),
      ("no record x/data.pkl", .directory(48), [0x44]),
      (
        "the extra fields of x/da are longer than 6 bytes", .directory(28),
        [4, 0, 6, 0] + [UInt8](repeating: 0, count: 14) + "x/da".utf8 + [2, 0, 3, 0]
      ),
    ] as [(String, Place, [UInt8])])
  fileprivate func malformedZip(why: String, place: Place, replacement: [UInt8]) throws {
    var bytes = try TorchFileTests.archive(.int(5))
    let directory = (0..<bytes.count).first { bytes[$0...].starts(with: [0x50, 0x4B, 1, 2]) } ?? 0
    switch place {
    case .end(let offset) where replacement.isEmpty: bytes.removeLast(-offset)
    case .end(let offset):
      bytes.replaceSubrange(
        (bytes.count + offset)..<(bytes.count + offset + replacement.count), with: replacement)
    case .directory(let offset):
      bytes.replaceSubrange(
        (directory + offset)..<(directory + offset + replacement.count), with: replacement)
    }
    let error = try #require(throws: TorchFileError.self) { try TorchFileTests.read(bytes) }
    #expect("\(error)".contains(why))
    #expect("\(error)".hasPrefix("x.pt: "))
  }

  fileprivate enum Place {
    case end(Int)
    case directory(Int)
  }

  @Test func recordsOfOneName() throws {
    var bytes = try TorchFileTests.archive(TorchFileTests.everyKind)
    let inDirectory = try #require(bytes.indices.last { bytes[$0...].starts(with: "x/data/1".utf8) })
    bytes[inDirectory + 7] = UInt8(ascii: "0")
    let error = try #require(throws: TorchFileError.self) { try TorchFileTests.read(bytes) }
    #expect("\(error)".contains("a second record is called x/data/0"))
  }

  @Test func bigEndianAndUnreadable() throws {
    let bytes = try TorchFileTests.archive(.int(5))
    var big = bytes
    let order = try TorchFileTests.read(bytes).records[3].bytes
    big.replaceSubrange(order, with: "biggie".utf8)
    let error = try #require(throws: TorchFileError.self) { try TorchFileTests.read(big) }
    #expect("\(error)".contains("x/byteorder: the numbers are not little-endian"))
    let source = MemorySource(bytes)
    let changed = ReadError.sourceChanged(path: "memory", what: "was changed")
    source.fail(changed)
    #expect(throws: TorchFileError.unreadable(changed)) { try TorchFile(source, size: bytes.count) }
    #expect(throws: TorchFileError.unreadable(.endOfFile(path: "memory", offset: 0))) {
      try TorchFile(source, size: bytes.count + 1)
    }
  }

  // MARK: - Pickle

  /// Reads instructions, one byte each, behind PROTO; the file has one record, `data/0`, of 8 bytes at byte 16.
  private static func unpickle(_ instructions: String, start: String = "\u{80}\u{2}") throws -> PickleValue {
    let bytes = (start + instructions).unicodeScalars.map { UInt8($0.value) }
    var reader = PickleReader(
      FileCursor(path: "x.pt", start: 100, bytes: bytes), source: MemorySource(Array(0..<24)),
      storages: { $0 == "0" ? 16..<24 : nil })
    return try reader.read()
  }

  private static let storage = "(X\u{7}\0\0\0storagectorch\nFloatStorage\nX\u{1}\0\0\u{0}0NK\u{2}tQ"

  private static func tensor(
    offset: String = "K\0", shape: String = "K\u{2}\u{85}", strides: String = "K\u{1}\u{85}"
  )
    -> String
  {
    "ctorch._utils\n_rebuild_tensor_v2\n(\(storage)\(offset)\(shape)\(strides)\u{89}NtR"
  }

  @Test func memoizedObjectsGrow() throws {
    // a = []; (a, a); a.append(1); (a, that tuple)
    let value = try TorchFileTests.unpickle("(]q\0h\0h\0\u{86}q\u{1}h\0K\u{1}ah\u{1}t.")
    guard case .tuple(let values) = value, values.count == 4, case .tuple(let pair) = values[1],
      case .list(let items) = pair[1]
    else { throw TestError() }
    guard items.count == 1, case .int(1) = items[0] else { throw TestError() }
  }

  @Test func builtInPlace() throws {
    // o = A(); (o, o), with the state set after the memo has it
    let value = try TorchFileTests.unpickle("cm\nA\n)\u{81}q\0}bh\0\u{86}.")
    guard case .tuple(let pair) = value, case .build(.new, .dict) = pair[0],
      case .build(.new, .dict) = pair[1]
    else {
      throw TestError()
    }
  }

  @Test(
    arguments: [
      "TENSOR", "ctorch._utils\n_rebuild_parameter\n(TENSOR\u{88}NtR",
      "ctorch._tensor\n_rebuild_from_type_v2\n(ctorch._utils\n_rebuild_parameter\nctorch\nTensor\n(TENSOR\u{88}Nt}tR",
    ])
  func wrappedTensors(instructions: String) throws {
    let tensor = TorchFileTests.tensor(offset: "K\u{1}", shape: "K\u{1}\u{85}")
    let value = try TorchFileTests.unpickle(instructions.replacing("TENSOR", with: tensor) + ".")
    guard case .tensor(let expression, let requiresGrad) = value else { throw TestError() }
    #expect(try expression.bytes() == [20, 21, 22, 23])
    #expect(expression.shape == [1])
    #expect(requiresGrad == (instructions != "TENSOR"))
  }

  @Test func otherProtocols() throws {
    let error = try #require(throws: TorchFileError.self) {
      try TorchFileTests.unpickle("N.", start: "\u{80}\u{4}")
    }
    #expect("\(error)".contains("not a pickle of protocol 2"))
  }

  @Test(
    arguments: [
      ("at byte 102, 1 bytes should follow, and there are 0", ""),
      ("the opcode before it, 0x69,", "i"),
      ("lacks its operand", "."),
      ("lacks its operand", "K\0(."),
      ("lacks its operand", "K\0\u{86}."),
      ("lacks its operand", "(q\0."),
      ("lacks its mark", "K\0t."),
      ("memo has no entry 3", "h\u{3}."),
      ("memo has no entry 259", "j\u{3}\u{1}\0\0."),
      ("items are added to what is no list", "}K\0a."),
      ("items are added to what is no dict", "]K\0K\0s."),
      ("items are added to what is no dict", "}(K\0u."),
      ("an integer of 9 bytes", "\u{8A}\u{9}123456789."),
      ("4294967295 bytes should follow", "X\u{FF}\u{FF}\u{FF}\u{FF}a."),
      ("a text of 1 bytes before it is not UTF-8", "X\u{1}\0\0\0\u{FF}."),
      ("a line doesn't end", "cm\nA"),
      ("the arguments of a call are no tuple", "cm\nA\n]R."),
      ("or contains itself", "]q\0h\0a."),
      ("or contains itself", "cm\nA\n)\u{81}q\0h\0b."),
      ("nested more than 200 deep", "N" + String(repeating: "\u{85}", count: 200) + "."),
      // Doubled 30 times.
      ("describes more than", "N" + String(repeating: "q\0h\0\u{86}", count: 30) + "."),
      ("holds more than 4194304 objects", String(repeating: "N", count: 1 << 22) + "N."),
      (
        "x.pt: a.b[1]: its strides are [2, 1] for the shape [2, 1]",
        "}X\u{1}\0\0\0a}X\u{1}\0\0\0b]NaTENSORass."
      ),
    ])
  func malformedPickle(why: String, instructions: String) throws {
    let strided = TorchFileTests.tensor(shape: "K\u{2}K\u{1}\u{86}", strides: "K\u{2}K\u{1}\u{86}")
    let error = try #require(throws: TorchFileError.self) {
      try TorchFileTests.unpickle(instructions.replacing("TENSOR", with: strided))
    }
    #expect("\(error)".contains(why))
  }

  /// A short pickle whose tensors have long names, or many: the names are text before anyone looks at them.
  @Test func longNames() throws {
    func list(_ item: String) -> String { "](" + item + String(repeating: "h\0", count: 999) + "e" }
    func dict(_ key: String, _ value: String) -> String {
      let count = key.utf8.count
      return "}X" + String(Character(Unicode.Scalar(UInt8(count & 255))))
        + String(Character(Unicode.Scalar(UInt8(count >> 8))))
        + "\0\0" + key + value + "s"
    }
    let tensor = TorchFileTests.tensor() + "q\0"
    let key = String(repeating: "k", count: 500)
    // A thousand tensors below a hundred keys.
    let deep = (0..<100).reduce(list(tensor)) { value, _ in dict(key, value) } + "."
    #expect(deep.utf8.count < 100_000)
    let error = try #require(throws: TorchFileError.self) { try TorchFileTests.unpickle(deep) }
    #expect("\(error)".contains("the names of the tensors in it take more than"))
    // A key that no parameter has isn't spelt out.
    let long = dict(String(repeating: "k", count: 600), TorchFileTests.tensor()) + "."
    #expect(try TorchFileTests.unpickle(long).tensors.map(\.path) == ["[…]"])
  }

  @Test(
    arguments: [
      ("overflows", "K\0", "\u{8A}\u{8}\0\0\0\0\0\0\0\u{40}K\u{4}K\0\u{87}", "K\0K\0K\0\u{87}"),
      ("takes 2 elements from 1 on of a storage that has 2", "K\u{1}", "K\u{2}\u{85}", "K\u{1}\u{85}"),
      ("not made from", "J\u{FF}\u{FF}\u{FF}\u{FF}", "K\u{2}\u{85}", "K\u{1}\u{85}"),
      ("not made from", "K\0", "J\u{FF}\u{FF}\u{FF}\u{FF}\u{85}", "K\u{1}\u{85}"),
      ("not made from", "K\0", "K\u{2}\u{85}", ")"),
    ])
  func wrongTensor(why: String, offset: String, shape: String, strides: String) throws {
    let error = try #require(throws: TorchFileError.self) {
      try TorchFileTests.unpickle(TorchFileTests.tensor(offset: offset, shape: shape, strides: strides) + ".")
    }
    #expect("\(error)".contains(why))
  }

  @Test(
    arguments: [
      ("FloatStorage", "FancyStorage", "of a type that zerofs doesn't know"),
      ("\u{0}0N", "\u{0}1N", "no record data/1"),
      ("K\u{2}tQ", "K\u{3}tQ", "3 float32 elements, and data/0 8 bytes"),
    ])
  func wrongStorage(text: String, replacement: String, why: String) throws {
    let storage = TorchFileTests.storage.replacing(text, with: replacement)
    let error = try #require(throws: TorchFileError.self) { try TorchFileTests.unpickle(storage + ".") }
    #expect("\(error)".contains(why))
  }

  /// Damaged files are errors or other values, whose tensors can be read; never a crash.
  @Test(arguments: [1, 2, 3] as [UInt64])
  func mutations(seed: UInt64) throws {
    var generator = SeededGenerator(seed: seed)
    let original = try TorchFileTests.archive(TorchFileTests.everyKind)
    let pickle = try TorchFileTests.read(original).records[0].bytes
    var (failed, passed) = (0, 0)
    for _ in 0..<2000 {
      var bytes = original
      for _ in 0..<Int.random(in: 1...4, using: &generator) {
        let target = Bool.random(using: &generator) ? pickle : bytes.indices
        let index = Int.random(in: target, using: &generator)
        switch Int.random(in: 0..<3, using: &generator) {
        case 0: bytes[index] = UInt8.random(in: 0...255, using: &generator)
        case 1: bytes[index] ^= 1 << UInt8.random(in: 0..<8, using: &generator)
        default: bytes[index] = original[Int.random(in: pickle, using: &generator)]
        }
      }
      if Int.random(in: 0..<20, using: &generator) == 0 {
        bytes.removeSubrange(Int.random(in: 0..<bytes.count, using: &generator)...)
      }
      do {
        for tensor in try TorchFileTests.read(bytes).value.tensors {
          _ = try VirtualFile(tensor.extents).bytes()
        }
        passed += 1
      } catch let error as TorchFileError {
        #expect(!"\(error)".isEmpty)
        failed += 1
      }
    }
    #expect(failed > 200 && passed > 200, "seed \(seed): \(failed) failed, \(passed) passed")
  }
}
