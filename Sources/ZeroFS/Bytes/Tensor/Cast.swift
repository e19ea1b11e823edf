/// What happens to an element between a source file and a checkpoint file: `source → affine → through → target`. The value is
/// taken as fp32, multiplied and added to in fp32, and rounded at most once, to `through`. `target` holds that exactly.
///
/// A master weight of an fp32 model that trains in bf16 is the rounded weight widened again (DeepSpeed
/// `runtime/zero/stage_1_and_2.py`: `DeepSpeedZeroOptimizer.__init__` clones the bf16 partition with `.float()`), hence
/// `through`; it is `source` where nothing is rounded. An fp64 element becomes fp32 first, whatever it becomes then (c10
/// `BFloat16.h`, `Half.h`: the only constructors are of `float`).
package struct Cast: Sendable, Hashable {
  package let source: DType
  package let through: DType
  package let target: DType
  let scale: Float
  /// Of `offset`: as numbers, the two zeros would be equal.
  private let offsetBits: UInt32

  /// -0 where there is nothing to add: x + -0 is x for either zero, x + 0 isn't.
  static let noOffset: Float = -0.0

  var offset: Float { Float(bitPattern: offsetBits) }
  var isAffine: Bool { scale != 1 || offsetBits != Cast.noOffset.bitPattern }

  /// Elements of `dtype` as they are.
  package init(_ dtype: DType) { self.init(source: dtype, through: dtype, target: dtype) }

  /// `t.to(target)` of a tensor of `source`.
  package init(_ source: DType, to target: DType) {
    self.init(source: source, through: source.isExactly(in: target) ? source : target, target: target)
  }

  private init(
    source: DType, scale: Float = 1, offset: Float = Cast.noOffset, through: DType, target: DType
  ) {
    let passes = source == target
    precondition(
      passes || source.isFloatingPoint && target.isFloatingPoint && target != .float64,
      "no cast from \(source) to \(target)")
    self.source = source
    self.scale = scale
    self.offsetBits = offset.bitPattern
    self.through = through
    self.target = target
  }

  /// Bytes pass unchanged.
  package var isVerbatim: Bool { source == target && through == source && !isAffine }

  /// The 16-bit type to which the fp32 value is rounded; `nil` where it isn't.
  var rounding: DType? { isUnrounded ? nil : through }

  /// Whether the value is still the fp32 number that the source and the affine map make.
  private var isUnrounded: Bool { through == .float32 || through == source && !isAffine }

  /// This cast followed by one to `dtype`; `nil` where the two round twice.
  package func then(_ dtype: DType) -> Cast? {
    if through.isExactly(in: dtype) {
      return Cast(source: source, scale: scale, offset: offset, through: through, target: dtype)
    }
    guard isUnrounded else { return nil }
    return Cast(source: source, scale: scale, offset: offset, through: dtype, target: dtype)
  }

  /// This cast followed by `x * scale + offset` in fp32, rounded to the target again; `nil` where one cast can't do both.
  func then(scale: Float, offset: Float) -> Cast? {
    precondition(target.isFloatingPoint && target != .float64, "no arithmetic in \(target)")
    guard isUnrounded else { return nil }
    if !isAffine {
      return Cast(source: source, scale: scale, offset: offset, through: target, target: target)
    }
    // One operation more of the two that there are.
    guard scale == 1, offsetBits == Cast.noOffset.bitPattern else { return nil }
    return Cast(source: source, scale: self.scale, offset: offset, through: target, target: target)
  }
}
