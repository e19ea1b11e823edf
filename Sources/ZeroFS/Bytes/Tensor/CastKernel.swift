/// Element conversions, bit for bit what PyTorch's `Tensor.to(dtype)` does on a CPU (c10 `BFloat16.h`:
/// `round_to_nearest_even`; `Half.h`). Little-endian on both sides.
package enum CastKernel {
  /// Casts the elements of `source` into `target`, which holds as many of the cast's target type. Neither needs to be aligned:
  /// a window begins anywhere in the buffer that it is collected in.
  package static func apply(
    _ cast: Cast, from source: UnsafeRawBufferPointer, to target: UnsafeMutableRawBufferPointer
  ) {
    if cast.isVerbatim { return target.copyMemory(from: source) }
    switch cast.source {
    case .float32: map(cast, source, target) { (x: UInt32) in x }
    case .bfloat16: map(cast, source, target) { (x: UInt16) in UInt32(x) << 16 }
    case .float16: map(cast, source, target) { (x: UInt16) in widenHalf(x) }
    case .float64: map(cast, source, target) { (x: UInt64) in Float(Double(bitPattern: x)).bitPattern }
    default: preconditionFailure("no kernel for \(cast)")
    }
  }

  /// - Parameter widen: the bits of an element as fp32.
  @inline(__always)
  private static func map<S: BitwiseCopyable>(
    _ cast: Cast, _ source: UnsafeRawBufferPointer, _ target: UnsafeMutableRawBufferPointer,
    _ widen: (S) -> UInt32
  ) {
    let (scale, offset) = (cast.scale, cast.offset)
    if cast.isAffine {
      round(cast, source, target) { (x: S) in (Float(bitPattern: widen(x)) * scale + offset).bitPattern }
    } else {
      round(cast, source, target, widen)
    }
  }

  @inline(__always)
  private static func round<S: BitwiseCopyable>(
    _ cast: Cast, _ source: UnsafeRawBufferPointer, _ target: UnsafeMutableRawBufferPointer,
    _ value: (S) -> UInt32
  ) {
    switch (cast.rounding, cast.target) {
    case (nil, .float32): each(source, target, value)
    case (.bfloat16, .bfloat16): each(source, target) { (x: S) in bfloat16(value(x)) }
    case (.bfloat16, .float32): each(source, target) { (x: S) in UInt32(bfloat16(value(x))) << 16 }
    case (.float16, .float16): each(source, target) { (x: S) in half(value(x)) }
    case (.float16, .float32): each(source, target) { (x: S) in widenHalf(half(value(x))) }
    default: preconditionFailure("no kernel for \(cast)")
    }
  }

  @inline(__always)
  private static func each<S: BitwiseCopyable, T: BitwiseCopyable>(
    _ source: UnsafeRawBufferPointer, _ target: UnsafeMutableRawBufferPointer, _ body: (S) -> T
  ) {
    let count = source.count / MemoryLayout<S>.size
    precondition(target.count == count * MemoryLayout<T>.size)
    guard let x = source.baseAddress, let y = target.baseAddress else { return }
    for i in 0..<count {
      let element = x.loadUnaligned(fromByteOffset: i &* MemoryLayout<S>.size, as: S.self)
      y.storeBytes(of: body(element), toByteOffset: i &* MemoryLayout<T>.size, as: T.self)
    }
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
