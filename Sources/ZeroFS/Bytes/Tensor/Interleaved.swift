/// Matrices of equally many rows side by side, row by row: `torch.cat(children, dim: 1)` as one extent, however many rows
/// there are.
package struct Interleaved: Sendable {
  /// `[rows, width]` in row-major order.
  struct Child: Sendable {
    let width: Int
    let elements: [ElementExtent]
    /// Where each extent starts, in elements.
    let starts: [Int]
    /// Whether a row by itself is as cheap to read as among others: not where one read serves several rows.
    let isReadByRow: Bool

    init(width: Int, _ elements: [ElementExtent]) {
      self.width = width
      self.elements = elements
      var end = 0
      starts = elements.map {
        end += $0.count
        return end - $0.count
      }
      isReadByRow = elements.allSatisfy { extent in
        switch extent {
        case .zeros: true
        case .run(let run): run.elementStride == 1 && !(run.source is VirtualFileSource)
        case .interleaved(let nested): nested.children.allSatisfy(\.isReadByRow)
        }
      }
    }
  }

  let children: [Child]
  package let dtype: DType
  /// The sum of the children's widths.
  let rowElements: Int
  /// The part in use, in elements of the row-major matrix.
  package private(set) var window: Range<Int>

  init(_ children: [Child], dtype: DType, window: Range<Int>) {
    self.children = children
    self.dtype = dtype
    rowElements = children.reduce(0) { $0 + $1.width }
    self.window = window
  }

  /// Whether the window is all that the children hold, with rows of `cols`.
  func isWhole(cols: Int) -> Bool { rowElements == cols && hasWholeRows }

  var hasWholeRows: Bool {
    window.lowerBound.isMultiple(of: rowElements) && window.upperBound.isMultiple(of: rowElements)
  }

  /// What the window takes of each child; only of whole rows.
  var cut: [Child] {
    precondition(hasWholeRows)
    let rows = (window.lowerBound / rowElements)..<(window.upperBound / rowElements)
    return children.map {
      Child(width: $0.width, $0.elements.sliced((rows.lowerBound * $0.width)..<(rows.upperBound * $0.width)))
    }
  }

  /// - Parameter range: elements of the window. Within one row there is nothing to interleave.
  func slice(_ range: Range<Int>) -> [ElementExtent] {
    let lower = window.lowerBound + range.lowerBound
    let upper = window.lowerBound + range.upperBound
    if lower / rowElements < (upper - 1) / rowElements {
      var part = self
      part.window = lower..<upper
      return [.interleaved(part)]
    }
    var result: [ElementExtent] = []
    forEachPiece(of: range, unit: 1) { child, part in result += child.elements.sliced(part) }
    return result
  }

  func mapChildren(to dtype: DType, _ body: ([ElementExtent]) -> [ElementExtent]) -> Interleaved {
    Interleaved(
      children.map { Child(width: $0.width, body($0.elements)) }, dtype: dtype, window: window)
  }

  /// Calls `body` with the pieces of which `range` of the window is made, in order, each a range of a child.
  ///
  /// - Parameter unit: what ranges count: 1 for elements, the size of one for bytes.
  func forEachPiece<E: Error>(
    of range: Range<Int>, unit: Int, _ body: (Child, Range<Int>) throws(E) -> Void
  ) throws(E) {
    let end = window.lowerBound * unit + range.upperBound
    var position = window.lowerBound * unit + range.lowerBound
    var row = position / (rowElements * unit)
    while position < end {
      var start = row * rowElements * unit
      for child in children {
        let width = child.width * unit
        if position < start + width {
          let from = position - start
          let count = min(width - from, end - position)
          try body(child, (row * width + from)..<(row * width + from + count))
          position += count
          if position == end { return }
        }
        start += width
      }
      row += 1
    }
  }
}

extension Interleaved.Child {
  /// Calls `body` with the parts of extents of which `range` is made, in the units of `forEachPiece`.
  func forEachExtent<E: Error>(
    in range: Range<Int>, unit: Int, _ body: (ElementExtent, Range<Int>) throws(E) -> Void
  ) throws(E) {
    var index = starts.partitionIndex { $0 * unit > range.lowerBound } - 1
    var position = range.lowerBound
    while position < range.upperBound {
      let start = starts[index] * unit
      let end = min(start + elements[index].count * unit, range.upperBound)
      try body(elements[index], (position - start)..<(end - start))
      position = end
      index += 1
    }
  }
}
