import Bytes

/// The rows of queries or keys, where transformers rotates others of them than MDS, or by more than a rotation.
///
/// MDS rotates the first rows of each head, the first half of them against the second (MDS
/// `megatron/model/rotary_pos_embedding.py`: `_rotate_half`).
struct RotaryRows: Sendable, Hashable {
  /// Rows of a head.
  let headDim: Int
  /// The first rows of each head, which are rotated.
  let rotated: Int
  /// Whether each even row is rotated against the odd row behind it (transformers `models/glm/modeling_glm.py`: `rotate_half`).
  var isInterleaved = false
  /// What transformers multiplies the rotated rows with (`modeling_rope_utils.py`: `attention_scaling`).
  var scale: Float = 1

  var isIdentity: Bool { !isInterleaved && scale == 1 }

  /// As MDS has them, of a tensor whose first dimension is the rows; in fp32 where they are scaled.
  func megatron(_ tensor: TensorExpression) -> TensorExpression {
    map(tensor, scale: scale) { rotated in
      let half = rotated.shape[0] / 2
      return [rotated.rows(from: 0, by: 2, count: half), rotated.rows(from: 1, by: 2, count: half)]
    }
  }

  /// As transformers has them: the inverse.
  func transformers(_ tensor: TensorExpression) -> TensorExpression {
    let (heads, columns) = (tensor.shape[0] / headDim, tensor.shape.dropFirst().reduce(1, *))
    let half = rotated / 2 * columns
    return map(tensor, scale: 1 / scale) { rotated in
      let matrix = rotated.reshaped([heads, 2 * half])
      let pairs = [matrix.columns(0..<half), matrix.columns(half..<(2 * half))].map {
        $0.reshaped([heads * self.rotated / 2, columns])
      }
      return [.concatenatingColumns(pairs)]
    }
  }

  /// - Parameter reorder: the rotated rows of all heads, in order, as parts that have the same number of rows of each head.
  private func map(
    _ tensor: TensorExpression, scale: Float, _ reorder: (TensorExpression) -> [TensorExpression]
  ) -> TensorExpression {
    if isIdentity { return tensor }
    let tensor = scale == 1 ? tensor : tensor.cast(to: .float32)
    let (heads, columns) = (tensor.shape[0] / headDim, tensor.shape.dropFirst().reduce(1, *))
    let matrix = tensor.reshaped([heads, headDim * columns])
    var rotated = matrix.columns(0..<(self.rotated * columns)).reshaped([heads * self.rotated, columns])
    if scale != 1 { rotated = rotated.scaled(by: scale) }
    let parts = (isInterleaved ? reorder(rotated) : [rotated]).map {
      $0.reshaped([heads, $0.count / heads])
    }
    let rest = self.rotated == headDim ? [] : [matrix.columns((self.rotated * columns)..<(headDim * columns))]
    return .concatenatingColumns(parts + rest).reshaped(tensor.shape)
  }
}
