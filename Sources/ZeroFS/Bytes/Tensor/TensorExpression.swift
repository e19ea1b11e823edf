/// A lazy tensor: a shape and the extents of its row-major elements. Nothing is read until a virtual file asks for bytes.
///
/// Closed under the operations that Megatron (slices, interleaving), DeepSpeed (flatten, concatenate, pad, partition) and
/// PyTorch (cast) apply to weights.
package struct TensorExpression: Sendable {
  package let shape: [Int]
  package let dtype: DType
  package let elements: [ElementExtent]

  package var count: Int { shape.reduce(1, *) }
  package var bytes: Int { count * dtype.size }

  private init(shape: [Int], dtype: DType, elements: [ElementExtent]) {
    self.shape = shape
    self.dtype = dtype
    self.elements = elements
  }

  /// The tensor of `shape` whose row-major elements start at `offset` bytes of `source`.
  package init(source: any ByteSource, offset: Int, shape: [Int], dtype: DType) {
    let count = shape.reduce(1, *)
    let run = TensorRun(
      source: source, offset: offset, rows: 1, rowElements: count, rowStride: count, window: 0..<count,
      cast: Cast(dtype))
    self.init(shape: shape, dtype: dtype, elements: count == 0 ? [] : [.run(run)])
  }

  /// `torch.zeros(shape)`.
  package static func zeros(_ shape: [Int], _ dtype: DType) -> TensorExpression {
    let count = shape.reduce(1, *)
    return TensorExpression(shape: shape, dtype: dtype, elements: count == 0 ? [] : [.zeros(count)])
  }

  /// `[rows, cols]`: every row the `cols` elements at byte 0 of `source`.
  package static func repeatingRow(of source: any ByteSource, rows: Int, cols: Int, dtype: DType)
    -> TensorExpression
  {
    let run = TensorRun(
      source: source, offset: 0, rows: rows, rowElements: cols, rowStride: 0, window: 0..<(rows * cols),
      cast: Cast(dtype))
    return TensorExpression(shape: [rows, cols], dtype: dtype, elements: rows == 0 ? [] : [.run(run)])
  }

  /// `t[range]` along the first dimension.
  package func rows(_ range: Range<Int>) -> TensorExpression {
    let row = shape.dropFirst().reduce(1, *)
    return TensorExpression(
      shape: [range.count] + shape.dropFirst(), dtype: dtype,
      elements: slice((range.lowerBound * row)..<(range.upperBound * row)))
  }

  /// `t[:, range]` of a `[rows, cols]` tensor.
  package func columns(_ range: Range<Int>) -> TensorExpression {
    precondition(shape.count == 2)
    let cols = shape[1]
    if range == 0..<cols { return self }
    let sliced = elements.map { extent -> ElementExtent in
      precondition(extent.count.isMultiple(of: cols), "columns of a tensor whose extents end mid-row")
      let rows = extent.count / cols
      switch extent {
      case .zeros: return .zeros(rows * range.count)
      case .run(let run):
        precondition(run.isContiguous, "columns of a strided tensor")
        return .run(
          TensorRun(
            source: run.source, offset: run.offset + range.lowerBound * run.cast.source.size, rows: rows,
            rowElements: range.count, rowStride: cols, window: 0..<(rows * range.count), cast: run.cast))
      }
    }
    return TensorExpression(
      shape: [shape[0], range.count], dtype: dtype, elements: range.isEmpty ? [] : sliced)
  }

  /// `torch.cat(tensors)` along the first dimension.
  package static func concatenating(_ tensors: [TensorExpression]) -> TensorExpression {
    precondition(!tensors.isEmpty && tensors.allSatisfy { $0.dtype == tensors[0].dtype })
    precondition(tensors.allSatisfy { $0.shape.dropFirst() == tensors[0].shape.dropFirst() })
    return TensorExpression(
      shape: [tensors.reduce(0) { $0 + $1.shape[0] }] + tensors[0].shape.dropFirst(), dtype: tensors[0].dtype,
      elements: tensors.flatMap(\.elements))
  }

  /// Zeros behind the last row until there are `count` rows.
  package func paddingRows(to count: Int) -> TensorExpression {
    if count <= shape[0] { return self }
    return .concatenating([self, .zeros([count - shape[0]] + shape.dropFirst(), dtype)])
  }

  /// `t.reshape(-1)`.
  package func flattened() -> TensorExpression {
    TensorExpression(shape: [count], dtype: dtype, elements: elements)
  }

  /// `t.to(dtype)`.
  package func cast(to dtype: DType) -> TensorExpression {
    if dtype == self.dtype { return self }
    return TensorExpression(
      shape: shape, dtype: dtype,
      elements: elements.map { extent in
        switch extent {
        case .zeros: extent
        case .run(let run): .run(run.cast(to: dtype))
        }
      })
  }

  /// The bytes of the row-major tensor.
  package var extents: [Extent] {
    elements.map { extent in
      switch extent {
      case .zeros(let count): .zeros(count: count * dtype.size)
      case .run(let run): .tensor(run)
      }
    }
  }

  private func slice(_ range: Range<Int>) -> [ElementExtent] {
    precondition(range.lowerBound >= 0 && range.upperBound <= count)
    var result: [ElementExtent] = []
    var start = 0
    for extent in elements {
      let end = start + extent.count
      if end > range.lowerBound && start < range.upperBound {
        let lower = max(range.lowerBound, start) - start
        result.append(extent.slice(lower..<(min(range.upperBound, end) - start)))
      }
      start = end
      if start >= range.upperBound { break }
    }
    return result
  }
}
