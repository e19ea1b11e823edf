import Testing

@testable import Bytes

/// Rounding and widening. Expectations are the bits that torch 2.13's `Tensor.to` gives.
@Suite struct CastTests {
  private func cast(_ bits: UInt32, from: DType, _ steps: DType...) throws -> UInt32 {
    let bytes = withUnsafeBytes(of: bits.littleEndian) { Array($0.prefix(from.size)) }
    var tensor = MemorySource(bytes).tensor([1], from)
    for step in steps { tensor = tensor.cast(to: step) }
    return try tensor.bytes().reversed().reduce(0) { $0 << 8 | UInt32($1) }
  }

  @Test(
    arguments: [
      (0x3F80_0000, 0x3F80), (0x3F80_8000, 0x3F80), (0x3F80_8001, 0x3F81), (0x3F81_8000, 0x3F82),
      (0x7F7F_FFFF, 0x7F80), (0x7F80_0000, 0x7F80), (0xFF80_0000, 0xFF80), (0x8000_0000, 0x8000),
      (0x7FC0_0001, 0x7FC0),
      (0x0000_0001, 0x0000), (0x0000_8001, 0x0001),
    ] as [(UInt32, UInt32)])
  func float32ToBfloat16(bits: UInt32, expected: UInt32) throws {
    #expect(try cast(bits, from: .float32, .bfloat16) == expected)
  }

  @Test(
    arguments: [
      (0x3F80_0000, 0x3C00), (0x477F_F000, 0x7C00), (0x477F_EFFF, 0x7BFF), (0x3300_0000, 0x0000),
      (0x3300_0001, 0x0001),
      (0x8000_0000, 0x8000), (0x7F80_0000, 0x7C00),
    ] as [(UInt32, UInt32)])
  func float32ToFloat16(bits: UInt32, expected: UInt32) throws {
    #expect(try cast(bits, from: .float32, .float16) == expected)
  }

  @Test func widening() throws {
    #expect(try cast(0xC0A1, from: .bfloat16, .float32) == 0xC0A1_0000)
    #expect(try cast(0x0001, from: .float16, .float32) == 0x3380_0000)
    #expect(try cast(0x7C00, from: .float16, .float32) == 0x7F80_0000)
  }

  /// Against the conversion of the standard library, for every number that there is.
  @Test func halfWidening() throws {
    let all = (0...UInt16.max).map { $0 }
    let source = MemorySource(all.flatMap { [UInt8($0 & 0xFF), UInt8($0 >> 8)] })
    let bytes = try source.tensor([all.count], .float16).cast(to: .float32).bytes()
    let widened = bytes.withUnsafeBytes { bytes in
      all.indices.map { UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: 4 * $0, as: UInt32.self)) }
    }
    #expect(widened == all.map { Float(Float16(bitPattern: $0)).bitPattern })
  }

  /// The master of an fp32 model in a bf16 run, of a bf16 model in an fp16 run, of an fp16 model in a bf16 run.
  @Test func roundedThenWidened() throws {
    #expect(try cast(0x3F80_8001, from: .float32, .bfloat16, .float32) == 0x3F81_0000)
    #expect(try cast(0x3F80_1001, from: .float32, .float16, .float32) == 0x3F80_2000)
    #expect(try cast(0x3380, from: .bfloat16, .float16, .float32) == 0x3380_0000)
    #expect(try cast(0x7F00, from: .bfloat16, .float16, .float32) == 0x7F80_0000)
    #expect(try cast(0x3C01, from: .float16, .bfloat16, .float32) == 0x3F80_0000)
  }

  @Test func castsThatLoseNothingAreVerbatim() {
    #expect(Cast(.bfloat16).then(.float32)?.then(.bfloat16)?.isVerbatim == true)
    #expect(Cast(.float32).then(.bfloat16)?.then(.float32)?.isVerbatim == false)
    #expect(Cast(.float32).then(.bfloat16)?.then(.float16) == nil, "two roundings are two casts")
  }
}
