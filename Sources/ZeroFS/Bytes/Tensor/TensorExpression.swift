/// A lazy tensor: a shape and the extents of its row-major elements. Nothing is read until a virtual file asks for bytes.
///
/// Closed under the operations that Megatron (slices, interleaving), DeepSpeed (flatten, concatenate, pad, partition) and
/// PyTorch (cast, transpose, reshape) apply to weights: each takes any expression, whatever made it. The number of extents
/// follows that of the operations, not that of rows.
package struct TensorExpression: Sendable {
  package let shape: [Int]
  package let dtype: DType
  package let elements: [ElementExtent]

  package var count: Int { shape.reduce(1, *) }
  package var bytes: Int { count * dtype.size }
  /// Elements of a row: of all dimensions but the first.
  var rowElements: Int { shape.dropFirst().reduce(1, *) }

  init(shape: [Int], dtype: DType, elements: [ElementExtent]) {
    self.shape = shape
    self.dtype = dtype
    self.elements = elements
  }

  /// The tensor of `shape` whose row-major elements start at `offset` bytes of `source`.
  package init(source: any ByteSource, offset: Int, shape: [Int], dtype: DType) {
    let count = shape.reduce(1, *)
    self.init(
      shape: shape, dtype: dtype,
      elements: count == 0 ? [] : [.run(.contiguous(source, offset: offset, count: count, Cast(dtype)))])
  }

  /// `torch.zeros(shape)`.
  package static func zeros(_ shape: [Int], _ dtype: DType) -> TensorExpression {
    let count = shape.reduce(1, *)
    return TensorExpression(shape: shape, dtype: dtype, elements: count == 0 ? [] : [.zeros(count)])
  }

  /// `torch.full(shape, value)`; of floating-point types but fp64.
  package static func filled(_ value: Float, shape: [Int], dtype: DType) -> TensorExpression {
    let count = shape.reduce(1, *)
    return TensorExpression(
      shape: shape, dtype: dtype, elements: count == 0 ? [] : [.filled(value, count: count, dtype)])
  }

  /// `[rows, cols]`: every row the `cols` elements at byte 0 of `source`.
  package static func repeatingRow(of source: any ByteSource, rows: Int, cols: Int, dtype: DType)
    -> TensorExpression
  {
    if rows * cols == 0 { return .zeros([rows, cols], dtype) }
    let run = TensorRun(
      source: source, offset: 0, rowElements: cols, rowStride: 0, window: 0..<(rows * cols), cast: Cast(dtype)
    )
    return TensorExpression(shape: [rows, cols], dtype: dtype, elements: [.run(run)])
  }

  // MARK: rows

  /// `t[range]` along the first dimension.
  package func rows(_ range: Range<Int>) -> TensorExpression {
    precondition(range.lowerBound >= 0 && range.upperBound <= shape[0])
    return TensorExpression(
      shape: [range.count] + shape.dropFirst(), dtype: dtype,
      elements: elements.sliced((range.lowerBound * rowElements)..<(range.upperBound * rowElements)))
  }

  /// `t[start::step][:count]` along the first dimension: the even rows of a rotary weight, say.
  package func rows(from start: Int, by step: Int, count: Int) -> TensorExpression {
    precondition(start >= 0 && step > 0 && count >= 0)
    if count == 0 { return rows(0..<0) }
    let last = start + (count - 1) * step
    precondition(last < shape[0])
    // Columns of a matrix that has `step` rows in each of its own. The last row may end before that.
    let groups = min(count, (shape[0] - start) / step)
    var picked = rows(start..<(start + groups * step)).reshaped([groups, step * rowElements])
      .columns(0..<rowElements).elements
    if groups < count { picked.join(rows(last..<(last + 1)).elements) }
    return TensorExpression(shape: [count] + shape.dropFirst(), dtype: dtype, elements: picked)
  }

  /// `torch.cat(tensors)` along the first dimension.
  package static func concatenating(_ tensors: [TensorExpression]) -> TensorExpression {
    precondition(!tensors.isEmpty && tensors.allSatisfy { $0.dtype == tensors[0].dtype })
    precondition(tensors.allSatisfy { $0.shape.dropFirst() == tensors[0].shape.dropFirst() })
    var elements: [ElementExtent] = []
    for tensor in tensors { elements.join(tensor.elements) }
    return TensorExpression(
      shape: [tensors.reduce(0) { $0 + $1.shape[0] }] + tensors[0].shape.dropFirst(), dtype: tensors[0].dtype,
      elements: elements)
  }

  /// Zeros behind the last row until there are `count` rows.
  package func paddingRows(to count: Int) -> TensorExpression {
    if count <= shape[0] { return self }
    return .concatenating([self, .zeros([count - shape[0]] + shape.dropFirst(), dtype)])
  }

  /// `t.reshape(-1)`.
  package func flattened() -> TensorExpression { reshaped([count]) }

  /// `t.reshape(shape)`; the count of elements stays.
  package func reshaped(_ shape: [Int]) -> TensorExpression {
    precondition(shape.reduce(1, *) == count, "\(self.shape) can't become \(shape)")
    return TensorExpression(shape: shape, dtype: dtype, elements: elements)
  }

  // MARK: elements

  /// `t.to(dtype)`, from a floating-point type to fp32, bf16 or fp16.
  package func cast(to dtype: DType) -> TensorExpression {
    if dtype == self.dtype { return self }
    precondition(
      self.dtype.isFloatingPoint && dtype.isFloatingPoint && dtype != .float64,
      "no cast from \(self.dtype) to \(dtype)")
    return TensorExpression(
      shape: shape, dtype: dtype,
      elements: elements.map { $0.mapping(to: dtype, { $0.then(dtype) }, next: Cast(self.dtype, to: dtype)) })
  }

  /// `t * scale + offset`, computed in fp32 and rounded once to the dtype of `t`: the weight of a norm that multiplies by
  /// `1 + w`, a scalar that a checkpoint's way of computing has folded in.
  ///
  /// Two calls round twice, as two operations of PyTorch do.
  package func scaled(by scale: Float, adding offset: Float? = nil) -> TensorExpression {
    let offset = offset ?? Cast.noOffset
    guard let next = Cast(dtype).then(scale: scale, offset: offset) else { preconditionFailure() }
    let zero = 0 * scale + offset
    return TensorExpression(
      shape: shape, dtype: dtype,
      elements: elements.map {
        $0.mapping(to: dtype, { $0.then(scale: scale, offset: offset) }, next: next, zero: zero)
      })
  }

  /// `t + offset`, rounded to the dtype of `t`.
  package func adding(_ offset: Float) -> TensorExpression { scaled(by: 1, adding: offset) }

  /// The bytes of the row-major tensor.
  package var extents: [Extent] { elements.map { $0.bytes(dtype) } }
}

extension ElementExtent {
  /// The elements, of `dtype`, that are `value` in fp32.
  static func filled(_ value: Float, count: Int, _ dtype: DType) -> ElementExtent {
    let source = ConstantSource(value, dtype)
    return source.isZero
      ? .zeros(count) : .run(.contiguous(source, offset: 0, count: count, Cast(dtype)))
  }

  /// The extent with another cast: `change` of that of each run, or `next` behind it where one cast can't do both.
  fileprivate func mapping(to dtype: DType, _ change: (Cast) -> Cast?, next: Cast, zero: Float = 0)
    -> ElementExtent
  {
    switch self {
    case .zeros(let count): return zero.bitPattern == 0 ? self : .filled(zero, count: count, dtype)
    case .run(let run):
      if let cast = change(run.cast) { return .run(run.with(cast)) }
      return .run(.over([self], next))
    case .interleaved(let interleaved):
      return .interleaved(
        interleaved.mapChildren(to: dtype) {
          $0.map { $0.mapping(to: dtype, change, next: next, zero: zero) }
        })
    }
  }
}
