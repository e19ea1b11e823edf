import Bytes
import Glibc

/// A tensor of the Hugging Face files as MDS multiplies with it: `[out, in]`, one of several parts of its rows, with what is
/// folded into it. `view` and `stored` are each other's inverse.
struct HFTensor: Sendable {
  /// In the files.
  let name: String
  /// In the files.
  let storedShape: [Int]
  let isTransposed: Bool
  /// The rows, of the tensor as `[out, in]`, that are meant.
  let rows: Range<Int>
  let rotary: RotaryRows?
  let folding: Architecture.Affine

  init(
    _ name: String, shape: [Int], isTransposed: Bool = false, rows: Range<Int>? = nil,
    rotary: RotaryRows? = nil, folding: Architecture.Affine = .init()
  ) {
    self.name = name
    self.isTransposed = isTransposed && shape.count == 2
    storedShape = self.isTransposed ? shape.reversed() : shape
    self.rows = rows ?? 0..<shape[0]
    (self.rotary, self.folding) = (rotary, folding)
  }

  /// `[rows, in]`, or `[rows]` of a vector.
  var shape: [Int] { [rows.count] + (isTransposed ? storedShape.dropLast() : storedShape.dropFirst()) }

  private var rowCount: Int { isTransposed ? storedShape[1] : storedShape[0] }

  /// The part, of the tensor in the files, or of a state of the optimizer in its shape.
  func view(of stored: TensorExpression, _ value: StoredValue = .parameter) -> TensorExpression {
    let (folding, rotary) = changes(of: value)
    var view = isTransposed ? stored.transposed() : stored
    if rows != 0..<rowCount { view = view.rows(rows) }
    if let rotary { view = rotary.megatron(view) }
    // In fp32, so that the run's dtype is the only rounding.
    if !folding.isIdentity {
      view = view.cast(to: .float32).scaled(by: folding.scale, adding: folding.offset)
    }
    return view
  }

  private func unfolded(_ view: TensorExpression, _ value: StoredValue) -> TensorExpression {
    let (folding, rotary) = changes(of: value)
    var view = view
    if !folding.isIdentity {
      view = view.cast(to: .float32).scaled(by: 1 / folding.scale, adding: -folding.offset / folding.scale)
    }
    return rotary?.transformers(view) ?? view
  }

  /// A sum of what is folded in changes no gradient, and a factor divides it.
  ///
  /// - Precondition: it is known how the value goes with the weight, or nothing is folded in.
  private func changes(of value: StoredValue) -> (Architecture.Affine, RotaryRows?) {
    guard let power = value.power, power != 1 else { return (folding, rotary) }
    var rotary = rotary
    if let scale = rotary?.scale { rotary?.scale = pow(scale, Float(power)) }
    return (Architecture.Affine(scale: pow(folding.scale, Float(power))), rotary)
  }

  /// Whether something is folded in.
  var isFolded: Bool { !folding.isIdentity || rotary?.scale ?? 1 != 1 }

  /// The tensor in the files from all of its parts; what was folded into them is taken out again, in fp32. Rows in front that no
  /// part has are zeros.
  ///
  /// - Precondition: the parts are of one tensor, and cover its other rows.
  static func stored(
    _ parts: [(tensor: HFTensor, view: TensorExpression)], _ value: StoredValue = .parameter
  ) -> TensorExpression {
    let views = parts.sorted { $0.tensor.rows.lowerBound < $1.tensor.rows.lowerBound }.map {
      $0.tensor.unfolded($0.view, value)
    }
    let common = DType.common(to: views.map(\.dtype))
    let unused = parts.map(\.tensor.rows.lowerBound).min() ?? 0
    let front =
      unused == 0
      ? [] : [TensorExpression.zeros([unused] + parts[0].tensor.shape.dropFirst(), common)]
    let whole = TensorExpression.concatenating(front + views.map { $0.cast(to: common) })
    return parts[0].tensor.isTransposed ? whole.transposed() : whole
  }
}

extension HFTensor {
  /// What foldings lose: each multiplication rounds, and so does the inverse of the factor; a sum loses what lies below the last
  /// digit of the larger operand.
  var rounding: Rounding {
    let ulp = 0x1p-24
    var rounding = Rounding()
    for scale in [folding.scale, rotary?.scale ?? 1] where scale.significand != 1 {
      rounding.relative += 4 * ulp
    }
    if folding.offset != 0 {
      rounding.relative += 2 * ulp
      rounding.absolute = 2 * ulp * Double(abs(folding.offset))
    }
    return rounding
  }
}

/// How far a value may be off after the way to fp32 parameters and back.
package struct Rounding: Sendable, Hashable {
  /// Of the value itself.
  package var relative = 0.0
  /// Whatever the value is.
  package var absolute = 0.0
  package var isExact: Bool { relative == 0 && absolute == 0 }
}
