import Testing

@testable import Bytes

/// Rounding and widening. Expectations are the bits that torch 2.13's `Tensor.to` gives.
@Suite struct CastTests {
  private func tensor(_ bits: UInt64, _ dtype: DType) -> TensorExpression {
    MemorySource(withUnsafeBytes(of: bits.littleEndian) { Array($0.prefix(dtype.size)) }).tensor([1], dtype)
  }

  private func bits(_ tensor: TensorExpression) throws -> UInt32 {
    try tensor.bytes().reversed().reduce(0) { $0 << 8 | UInt32($1) }
  }

  private func cast(_ bits: UInt32, from: DType, _ steps: DType...) throws -> UInt32 {
    var tensor = tensor(UInt64(bits), from)
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

  /// By way of fp32, as c10 does: the third of 1 + 2^-8 + 2^-40 is the even neighbour, 65519.99999999 is infinite in fp16.
  @Test(
    arguments: [
      (0x3FF0_0000_0000_0000, 0x3F80_0000, 0x3F80, 0x3C00),
      (0x3FF0_1000_0000_0000, 0x3F80_8000, 0x3F80, 0x3C04),
      (0x3FF0_1000_0000_1000, 0x3F80_8000, 0x3F80, 0x3C04),
      (0x3FF0_0000_1000_0000, 0x3F80_0000, 0x3F80, 0x3C00),
      (0x3FF0_0000_1000_0004, 0x3F80_0001, 0x3F80, 0x3C00),
      (0x3FF0_1800_0000_0000, 0x3F80_C000, 0x3F81, 0x3C06),
      (0x47F0_74F8_C4D3_CD7B, 0x7F80_0000, 0x7F80, 0x7C00),
      (0xFE37_E43C_8800_759C, 0xFF80_0000, 0xFF80, 0xFC00),
      (0x3662_44CE_242C_5561, 0x0000_0000, 0x0000, 0x0000),
      (0x40EF_FDFF_FFFF_FAA2, 0x477F_F000, 0x4780, 0x7C00),
      (0x8000_0000_0000_0000, 0x8000_0000, 0x8000, 0x8000),
      (0xFFF0_0000_0000_0000, 0xFF80_0000, 0xFF80, 0xFC00),
      (0x3FB9_9999_9999_999A, 0x3DCC_CCCD, 0x3DCD, 0x2E66),
    ] as [(UInt64, UInt32, UInt32, UInt32)])
  func float64(number: UInt64, float32: UInt32, bfloat16: UInt32, float16: UInt32) throws {
    let tensor = tensor(number, .float64)
    #expect(try bits(tensor.cast(to: .float32)) == float32)
    #expect(try bits(tensor.cast(to: .bfloat16)) == bfloat16)
    #expect(try bits(tensor.cast(to: .bfloat16).cast(to: .float32)) == bfloat16 << 16)
    #expect(try bits(tensor.cast(to: .float16)) == float16)
  }

  /// bf16 weights w: `1 + w`, `w * 0.1`, `w * 0.1 + 0.3`, each in fp32 and back, and the second as fp16.
  @Test(
    arguments: [
      (0x3F80, 0x4000, 0x3DCD, 0x3ECD, 0x2E66), (0x3E99, 0x3FA6, 0x3CF5, 0x3EA9, 0x27A6),
      (0xBDCD, 0x3F66, 0xBC24, 0x3E94, 0xA120), (0x4049, 0x4084, 0x3EA1, 0x3F1D, 0x3506),
      (0x0001, 0x3F80, 0x0000, 0x3E9A, 0x0000),
    ] as [(UInt64, UInt32, UInt32, UInt32, UInt32)])
  func affine(weight: UInt64, plusOne: UInt32, scaled: UInt32, both: UInt32, half: UInt32) throws {
    let tensor = tensor(weight, .bfloat16)
    #expect(try bits(tensor.adding(1)) == plusOne)
    #expect(try bits(tensor.scaled(by: 0.1)) == scaled)
    #expect(try bits(tensor.scaled(by: 0.1, adding: 0.3)) == both)
    // A master: rounded to the training type, widened again.
    #expect(try bits(tensor.scaled(by: 0.1).cast(to: .float32)) == scaled << 16)
    // In fp32 nothing is rounded before the end.
    let wide = tensor.cast(to: .float32)
    #expect(try bits(wide.scaled(by: 0.1).cast(to: .float16)) == half)
    #expect(try bits(wide.scaled(by: 0.1).adding(0.3).cast(to: .bfloat16)) == both)
    #expect(wide.scaled(by: 0.1).adding(0.3).cast(to: .bfloat16).extents[0].runs[0].cast.source == .bfloat16)
  }

  @Test func affineOfFloat32() throws {
    #expect(try bits(tensor(0x3F80_0001, .float32).scaled(by: 0.1).adding(0.3)) == 0x3ECC_CCCE)
    #expect(try bits(tensor(0x3E99_999A, .float32).scaled(by: 0.1, adding: 0.3)) == 0x3EA8_F5C3)
    #expect(try bits(tensor(0x3E99_999A, .float32).scaled(by: 0.1).cast(to: .bfloat16)) == 0x3CF6)
  }

  /// Nothing that is added isn't 0 that is added: -0 stays.
  @Test func negativeZero() throws {
    #expect(try bits(tensor(0x8000_0000, .float32).scaled(by: 2)) == 0x8000_0000)
    #expect(try bits(tensor(0x8000_0000, .float32).adding(0)) == 0)
    #expect(try bits(TensorExpression.zeros([1], .float32).scaled(by: -1)) == 0x8000_0000)
  }

  /// Where one cast can't round twice, two do.
  @Test func twoRoundings() throws {
    #expect(try cast(0x3F80_8001, from: .float32, .bfloat16, .float16) == 0x3C08)
    let tensor = tensor(0x3E99, .bfloat16)
    #expect(try bits(tensor.scaled(by: 0.1).adding(1)) == 0x3F84)
  }

  @Test func castsThatLoseNothingAreVerbatim() {
    #expect(Cast(.bfloat16).then(.float32)?.then(.bfloat16)?.isVerbatim == true)
    #expect(Cast(.float32).then(.bfloat16)?.then(.float32)?.isVerbatim == false)
    #expect(Cast(.float32).then(.bfloat16)?.then(.float16) == nil, "two roundings are two casts")
  }
}
