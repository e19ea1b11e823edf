/// Element conversions, bit for bit what PyTorch's `Tensor.to(dtype)` does on a CPU (c10 `BFloat16.h`:
/// `round_to_nearest_even`; `Half.h`). Little-endian on both sides.
package enum CastKernel {
  /// Casts the elements of `source` into `target`, which holds as many of the cast's target type.
  package static func apply(
    _ cast: Cast, from source: UnsafeRawBufferPointer, to target: UnsafeMutableRawBufferPointer
  ) {
    switch (cast.source, cast.through, cast.target) {
    case (.bfloat16, .bfloat16, .float32):
      map(source, target) { (x: UInt16) -> UInt32 in UInt32(x) << 16 }
    case (.float16, .float16, .float32):
      map(source, target) { (x: UInt16) -> UInt32 in widenHalf(x) }
    case (.float32, _, .bfloat16):
      map(source, target) { (x: UInt32) -> UInt16 in bfloat16(x) }
    case (.float32, _, .float16):
      map(source, target) { (x: UInt32) -> UInt16 in half(x) }
    case (.bfloat16, _, .float16):
      map(source, target) { (x: UInt16) -> UInt16 in half(UInt32(x) << 16) }
    case (.float16, _, .bfloat16):
      map(source, target) { (x: UInt16) -> UInt16 in bfloat16(widenHalf(x)) }
    case (.float32, .bfloat16, .float32):
      map(source, target) { (x: UInt32) -> UInt32 in UInt32(bfloat16(x)) << 16 }
    case (.float32, .float16, .float32):
      map(source, target) { (x: UInt32) -> UInt32 in widenHalf(half(x)) }
    case (.bfloat16, .float16, .float32):
      map(source, target) { (x: UInt16) -> UInt32 in widenHalf(half(UInt32(x) << 16)) }
    case (.float16, .bfloat16, .float32):
      map(source, target) { (x: UInt16) -> UInt32 in UInt32(bfloat16(widenHalf(x))) << 16 }
    default:
      precondition(cast.isVerbatim, "no kernel for \(cast)")
      target.copyMemory(from: source)
    }
  }

  @inline(__always)
  private static func map<S, T>(
    _ source: UnsafeRawBufferPointer, _ target: UnsafeMutableRawBufferPointer, _ body: (S) -> T
  ) {
    let from = source.assumingMemoryBound(to: S.self)
    let to = target.assumingMemoryBound(to: T.self)
    precondition(from.count == to.count)
    guard let x = from.baseAddress, let y = to.baseAddress else { return }
    for i in 0..<from.count { y[i] = body(x[i]) }
  }

  @inline(__always)
  private static func bfloat16(_ bits: UInt32) -> UInt16 {
    if bits & 0x7FFF_FFFF > 0x7F80_0000 { return 0x7FC0 }  // c10's quiet NaN; a NaN stays one
    return UInt16(truncatingIfNeeded: (bits &+ 0x7FFF &+ ((bits >> 16) & 1)) >> 16)
  }

  @inline(__always)
  private static func half(_ bits: UInt32) -> UInt16 {
    Float16(Float(bitPattern: bits)).bitPattern
  }

  /// In operations that every x86-64 has for vectors; `Float(Float16)` is a library call for each element there.
  @inline(__always)
  private static func widenHalf(_ bits: UInt16) -> UInt32 {
    let magnitude = UInt32(bits & 0x7FFF) << 13
    // Times 2^112, the difference of the exponents' biases: exact, for subnormal numbers too.
    let finite = (Float(bitPattern: magnitude) * Float(bitPattern: 0x7780_0000)).bitPattern
    let infinity: UInt32 = 0x0F80_0000
    // A NaN becomes quiet.
    let special = magnitude | (magnitude == infinity ? 0x7F80_0000 : 0x7FC0_0000)
    return (magnitude < infinity ? finite : special) | UInt32(bits & 0x8000) << 16
  }
}
