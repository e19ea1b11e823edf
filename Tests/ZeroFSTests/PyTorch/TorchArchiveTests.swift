import CZlib
import Testing

@testable import Bytes
@testable import Torch

/// Layout of the zip file; that torch loads it is shown in Tests/conformance.
@Suite struct TorchArchiveTests {
  @Test func payloadsAreAligned() throws {
    let value = PickleValue.dict([
      "a": .tensor(MemorySource([1, 2, 3, 4]).tensor([1], .float32), requiresGrad: false),
      "b": .tensor(.zeros([1000], .float32), requiresGrad: true),
    ])
    let bytes = try TorchArchive(value, name: "x").file().bytes()
    var offset = 0
    var names: [String] = []
    while bytes[offset..<(offset + 4)].elementsEqual([0x50, 0x4B, 3, 4]) {
      let nameCount = Int(bytes[offset + 26]) | Int(bytes[offset + 27]) << 8
      let extraCount = Int(bytes[offset + 28]) | Int(bytes[offset + 29]) << 8
      names.append(String(decoding: bytes[(offset + 30)..<(offset + 30 + nameCount)], as: UTF8.self))
      let payload = offset + 30 + nameCount + extraCount
      #expect(payload.isMultiple(of: 64), "\(names)")
      offset =
        try #require(
          (payload..<(bytes.count - 4)).first { bytes[$0..<($0 + 4)].elementsEqual([0x50, 0x4B, 7, 8]) }) + 16
    }
    #expect(
      names == [
        "x/data.pkl", "x/.format_version", "x/.storage_alignment", "x/byteorder", "x/data/0", "x/data/1",
        "x/version",
        "x/.data/serialization_id",
      ])
  }

  @Test func checksumsThatNeedNoReading() {
    #expect(CRC32.withoutReading([.literal(Array("123456789".utf8))]) == 0xCBF4_3926)
    let zeros = [UInt8](repeating: 0, count: 100_001)
    let expected = zeros.withUnsafeBufferPointer { UInt32(crc32_z(0, $0.baseAddress, $0.count)) }
    #expect(CRC32.withoutReading([.zeros(count: 100_001)]) == expected)
    #expect(CRC32.withoutReading([.zeros(count: 1), .zeros(count: 100_000)]) == expected)
    #expect(CRC32.withoutReading(MemorySource([1]).tensor([1], .uint8).extents) == nil)
  }

  @Test func picklesIntegersOfEverySize() {
    let pickle = PickleWriter.write(.list([0, 255, 256, 65535, 65536, -1, 1 << 31].map { .int($0) })).bytes
    #expect(
      pickle == [
        0x80, 2, 0x5D, 0x28, 0x4B, 0, 0x4B, 255, 0x4D, 0, 1, 0x4D, 255, 255, 0x4A, 0, 0, 1, 0, 0x4A, 255, 255,
        255, 255,
      ]
        + [0x8A, 8, 0, 0, 0, 128, 0, 0, 0, 0, 0x65, 0x2E])
  }

  @Test func stringsAreWrittenOnce() {
    let pickle = PickleWriter.write(.tuple([.string("key"), .string("key")])).bytes
    #expect(pickle == [0x80, 2, 0x58, 3, 0, 0, 0] + Array("key".utf8) + [0x71, 0, 0x68, 0, 0x86, 0x2E])
  }
}
