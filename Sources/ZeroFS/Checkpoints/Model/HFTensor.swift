import Bytes

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
  let folding: Architecture.Affine

  init(
    _ name: String, shape: [Int], isTransposed: Bool = false, rows: Range<Int>? = nil,
    folding: Architecture.Affine = .init()
  ) {
    self.name = name
    self.isTransposed = isTransposed && shape.count == 2
    storedShape = self.isTransposed ? shape.reversed() : shape
    self.rows = rows ?? 0..<shape[0]
    self.folding = folding
  }

  /// `[rows, in]`, or `[rows]` of a vector.
  var shape: [Int] { [rows.count] + (isTransposed ? storedShape.dropLast() : storedShape.dropFirst()) }

  private var rowCount: Int { isTransposed ? storedShape[1] : storedShape[0] }

  /// The part, of the tensor in the files.
  func view(of stored: TensorExpression) -> TensorExpression {
    var view = isTransposed ? stored.transposed() : stored
    if rows != 0..<rowCount { view = view.rows(rows) }
    // In fp32, so that the run's dtype is the only rounding.
    if !folding.isIdentity {
      view = view.cast(to: .float32).scaled(by: folding.scale, adding: folding.offset)
    }
    return view
  }

  private func unfolded(_ view: TensorExpression) -> TensorExpression {
    folding.isIdentity
      ? view
      : view.cast(to: .float32).scaled(by: 1 / folding.scale, adding: -folding.offset / folding.scale)
  }

  /// The tensor in the files from all of its parts; what was folded into them is taken out again, in fp32.
  ///
  /// - Precondition: the parts are of one tensor, and cover its rows.
  static func stored(_ parts: [(tensor: HFTensor, view: TensorExpression)]) -> TensorExpression {
    let whole = TensorExpression.concatenating(
      parts.sorted { $0.tensor.rows.lowerBound < $1.tensor.rows.lowerBound }.map {
        $0.tensor.unfolded($0.view)
      })
    return parts[0].tensor.isTransposed ? whole.transposed() : whole
  }
}
