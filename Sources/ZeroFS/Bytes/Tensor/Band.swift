/// Whole rows of a matrix, in row-major order: many of one extent, or one of several.
struct Band {
  var rows: Int
  var elements: [ElementExtent]

  /// The columns `range` of the band's rows, which have `cols` elements.
  func columns(_ range: Range<Int>, cols: Int, _ dtype: DType) -> [ElementExtent] {
    rows == 1 ? elements.sliced(range) : elements[0].columns(range, rows: rows, cols: cols, dtype)
  }

  /// `[cols, rows]`.
  func transposed(cols: Int, _ dtype: DType) -> [ElementExtent] {
    rows == 1 ? elements : elements[0].transposed(rows: rows, cols: cols, dtype)
  }
}

extension [ElementExtent] {
  /// The elements as rows of `cols`: at most two bands more than twice the extents.
  func bands(cols: Int) -> [Band] {
    var bands: [Band] = []
    var begun = Band(rows: 1, elements: [])
    var missing = cols
    for extent in self {
      var position = 0
      if missing < cols {
        position = Swift.min(missing, extent.count)
        begun.elements += extent.slice(0..<position)
        missing -= position
        if missing > 0 { continue }
        bands.append(begun)
        (begun.elements, missing) = ([], cols)
      }
      let rows = (extent.count - position) / cols
      if rows > 0 {
        let whole = extent.slice(position..<(position + rows * cols))
        // Several extents are what an interleaved one has in one of its rows.
        bands += whole.count == 1 ? [Band(rows: rows, elements: whole)] : whole.bands(cols: cols)
        position += rows * cols
      }
      if position < extent.count {
        begun.elements = extent.slice(position..<extent.count)
        missing = cols - (extent.count - position)
      }
    }
    precondition(missing == cols)
    return bands
  }
}

extension ElementExtent {
  /// The columns `range` of the extent as a `[rows, cols]` matrix.
  fileprivate func columns(_ range: Range<Int>, rows: Int, cols: Int, _ dtype: DType) -> [ElementExtent] {
    switch self {
    case .zeros: [.zeros(rows * range.count)]
    case .run: [.run(StridedMatrix(self, rows: rows, cols: cols, dtype).columns(range).run)]
    case .interleaved(let interleaved):
      interleaved.columns(range, cols: cols)
        ?? [.run(StridedMatrix(self, rows: rows, cols: cols, dtype).columns(range).run)]
    }
  }

  fileprivate func transposed(rows: Int, cols: Int, _ dtype: DType) -> [ElementExtent] {
    switch self {
    case .zeros: [self]
    case .run: [.run(StridedMatrix(self, rows: rows, cols: cols, dtype).transposed().run)]
    case .interleaved(let interleaved):
      interleaved.transposed(cols: cols)
        ?? [.run(StridedMatrix(self, rows: rows, cols: cols, dtype).transposed().run)]
    }
  }
}

extension StridedMatrix {
  /// Any extent: where two strides don't reach the elements of its own source, its bytes are a source.
  fileprivate init(_ extent: ElementExtent, rows: Int, cols: Int, _ dtype: DType) {
    if case .run(let run) = extent, let matrix = StridedMatrix(run, rows: rows, cols: cols) {
      self = matrix
    } else {
      self.init(contiguous: .over([extent], Cast(dtype)), rows: rows, cols: cols)
    }
  }
}

extension Interleaved {
  /// The columns `range` of the window as rows of `cols`; `nil` where these lie across the children.
  fileprivate func columns(_ range: Range<Int>, cols: Int) -> [ElementExtent]? {
    guard hasWholeRows else { return nil }
    var parts: [TensorExpression] = []
    if cols == rowElements {
      var start = 0
      for child in cut {
        let own = range.clamped(to: start..<(start + child.width))
        if !own.isEmpty {
          let columns = (own.lowerBound - start)..<(own.upperBound - start)
          parts.append(tensor(child, cols: child.width).columns(columns))
        }
        start += child.width
      }
    } else {
      guard children.allSatisfy({ $0.width.isMultiple(of: cols) }) else { return nil }
      let rows = window.count / rowElements
      parts = cut.map {
        tensor($0, cols: cols).columns(range).reshaped([rows, $0.width / cols * range.count])
      }
    }
    return TensorExpression.concatenatingColumns(parts).elements
  }

  fileprivate func transposed(cols: Int) -> [ElementExtent]? {
    guard isWhole(cols: cols) else { return nil }
    return TensorExpression.concatenating(cut.map { tensor($0, cols: $0.width).transposed() }).elements
  }

  private func tensor(_ child: Child, cols: Int) -> TensorExpression {
    let count = window.count / rowElements * child.width
    return TensorExpression(shape: [count / cols, cols], dtype: dtype, elements: child.elements)
  }
}
