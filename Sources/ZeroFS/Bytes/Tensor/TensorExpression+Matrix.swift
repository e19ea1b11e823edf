/// A part of a tensor: rows, and of each the elements `columns`. A tensor of one dimension has rows of one element: its
/// columns are `0..<1`. One of three has rows of all elements behind the first dimension.
package struct Block: Sendable, Hashable {
  package let rows: Range<Int>
  package let columns: Range<Int>

  package init(rows: Range<Int>, columns: Range<Int> = 0..<1) {
    self.rows = rows
    self.columns = columns
  }
}

extension TensorExpression {
  /// `t[:, range]` of a `[rows, cols]` tensor.
  package func columns(_ range: Range<Int>) -> TensorExpression {
    precondition(shape.count == 2 && range.lowerBound >= 0 && range.upperBound <= shape[1])
    if range == 0..<shape[1] { return self }
    var picked: [ElementExtent] = []
    if !range.isEmpty {
      for band in elements.bands(cols: shape[1]) {
        picked.join(band.columns(range, cols: shape[1], dtype))
      }
    }
    return TensorExpression(shape: [shape[0], range.count], dtype: dtype, elements: picked)
  }

  /// `t.T` of a `[rows, cols]` tensor.
  package func transposed() -> TensorExpression {
    precondition(shape.count == 2)
    let (rows, cols) = (shape[0], shape[1])
    if rows <= 1 || cols <= 1 { return reshaped([cols, rows]) }
    let bands = elements.bands(cols: cols).map {
      TensorExpression(shape: [cols, $0.rows], dtype: dtype, elements: $0.transposed(cols: cols, dtype))
    }
    return .concatenatingColumns(bands)
  }

  /// `torch.cat(tensors, dim: 1)` of `[rows, cols]` tensors: one extent, for any number of rows.
  package static func concatenatingColumns(_ tensors: [TensorExpression]) -> TensorExpression {
    precondition(!tensors.isEmpty)
    let (rows, dtype) = (tensors[0].shape[0], tensors[0].dtype)
    precondition(tensors.allSatisfy { $0.shape.count == 2 && $0.shape[0] == rows && $0.dtype == dtype })
    let cols = tensors.reduce(0) { $0 + $1.shape[1] }
    var elements: [ElementExtent] = []
    if rows == 1 {
      for tensor in tensors { elements.join(tensor.elements) }
    } else if rows > 0 && cols > 0 {
      var children: [Interleaved.Child] = []
      for tensor in tensors where tensor.shape[1] > 0 {
        children.append(tensor, rows: rows)
      }
      elements =
        children.count == 1
        ? children[0].elements
        : [.interleaved(Interleaved(children, dtype: dtype, window: 0..<(rows * cols)))]
    }
    return TensorExpression(shape: [rows, cols], dtype: dtype, elements: elements)
  }

  /// The block as a tensor: of one dimension for one, of two otherwise.
  package func block(_ block: Block) -> TensorExpression {
    let part = rows(block.rows)
    if shape.count == 1 {
      precondition(block.columns == 0..<1)
      return part
    }
    return part.reshaped([block.rows.count, rowElements]).columns(block.columns)
  }

  /// The tensor of `shape` whose blocks are `pieces`, in any order, and zeros elsewhere. The inverse of `block`.
  ///
  /// - Parameter pieces: of as many elements as their blocks, which don't overlap; of `dtype`.
  package static func assembling(
    _ shape: [Int], _ pieces: [(block: Block, tensor: TensorExpression)], dtype: DType
  ) -> TensorExpression {
    let (rows, cols) = (shape[0], shape.dropFirst().reduce(1, *))
    let pieces = pieces.filter { !$0.block.rows.isEmpty && !$0.block.columns.isEmpty }
      .sorted { $0.block.rows.lowerBound < $1.block.rows.lowerBound }
    for (block, tensor) in pieces {
      precondition(block.rows.lowerBound >= 0 && block.rows.upperBound <= rows, "\(block) in \(shape)")
      precondition(block.columns.lowerBound >= 0 && block.columns.upperBound <= cols, "\(block) in \(shape)")
      precondition(tensor.dtype == dtype && tensor.count == block.rows.count * block.columns.count)
    }
    // Where a piece begins or ends, a band of rows ends.
    let cuts = Set([0, rows] + pieces.flatMap { [$0.block.rows.lowerBound, $0.block.rows.upperBound] })
      .sorted()
    var waiting = pieces[...]
    var active: [(block: Block, tensor: TensorExpression)] = []
    var elements: [ElementExtent] = []
    for (lower, upper) in zip(cuts, cuts.dropFirst()) {
      active.removeAll { $0.block.rows.upperBound <= lower }
      while let next = waiting.first, next.block.rows.lowerBound == lower {
        active.append(next)
        waiting.removeFirst()
      }
      elements.join(band(lower..<upper, cols: cols, active, dtype))
    }
    return TensorExpression(shape: shape, dtype: dtype, elements: rows * cols == 0 ? [] : elements)
  }

  /// The rows `range` of an assembled tensor: what each piece has of them, from left to right, with zeros between.
  private static func band(
    _ range: Range<Int>, cols: Int, _ pieces: [(block: Block, tensor: TensorExpression)], _ dtype: DType
  ) -> [ElementExtent] {
    var parts: [TensorExpression] = []
    var column = 0
    func fill(to end: Int) {
      if end > column { parts.append(.zeros([range.count, end - column], dtype)) }
    }
    for (block, tensor) in pieces.sorted(by: { $0.block.columns.lowerBound < $1.block.columns.lowerBound }) {
      precondition(block.columns.lowerBound >= column, "pieces overlap at \(block)")
      fill(to: block.columns.lowerBound)
      let own = (range.lowerBound - block.rows.lowerBound)..<(range.upperBound - block.rows.lowerBound)
      parts.append(tensor.reshaped([block.rows.count, block.columns.count]).rows(own))
      column = block.columns.upperBound
    }
    fill(to: cols)
    return parts.isEmpty ? [] : concatenatingColumns(parts).elements
  }
}

extension [Interleaved.Child] {
  /// Appends a `[rows, cols]` tensor, or makes the last child wider by it.
  fileprivate mutating func append(_ tensor: TensorExpression, rows: Int) {
    let cols = tensor.shape[1]
    if tensor.elements.count == 1 {
      switch (last.flatMap { $0.elements.count == 1 ? $0.elements[0] : nil }, tensor.elements[0]) {
      case (.zeros?, .zeros(let more)):
        let width = removeLast().width + cols
        return append(Interleaved.Child(width: width, [.zeros(width * (more / cols))]))
      case (.run(let run)?, .run(let next)):
        if let left = StridedMatrix(run, rows: rows, cols: self[count - 1].width),
          let right = StridedMatrix(next, rows: rows, cols: cols), let joined = left.joined(right)
        {
          self[count - 1] = Interleaved.Child(width: joined.cols, [.run(joined.run)])
          return
        }
      case (_, .interleaved(let interleaved)) where interleaved.isWhole(cols: cols):
        for child in interleaved.cut {
          append(
            TensorExpression(shape: [rows, child.width], dtype: tensor.dtype, elements: child.elements),
            rows: rows)
        }
        return
      default: break
      }
    }
    append(Interleaved.Child(width: cols, tensor.elements))
  }
}
