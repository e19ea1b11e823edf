/// Elements of a source, row by row: `rows` × `rowElements`, the starts of two rows `rowStride` elements apart, two elements of
/// a row `elementStride`.
///
/// `window` is the part in use, in elements of the row-major `rows * rowElements`. ZeRO cuts partitions mid-row, so a
/// column slice that is also widened needs all of it. A row stride of 0 repeats one row; a matrix transposed has a row stride
/// of 1. In normal form: the window begins in row 0, and what has one stride is one row.
package struct TensorRun: Sendable {
  package let source: any ByteSource
  /// Where element 0 of row 0 stands in `source`, in bytes.
  package let offset: Int
  package let rowElements: Int
  package let rowStride: Int
  package let elementStride: Int
  package let window: Range<Int>
  package let cast: Cast

  /// - Parameter window: not empty.
  init(
    source: any ByteSource, offset: Int, rowElements: Int, rowStride: Int, elementStride: Int = 1,
    window: Range<Int>, cast: Cast
  ) {
    precondition(!window.isEmpty)
    let size = cast.source.size
    let row = window.lowerBound / rowElements
    var offset = offset + row * rowStride * size
    var window = (window.lowerBound - row * rowElements)..<(window.upperBound - row * rowElements)
    var (rowElements, rowStride, elementStride) = (rowElements, rowStride, elementStride)
    if rowElements == 1 {
      (rowElements, elementStride) = (window.upperBound, rowStride)
    } else if rowStride == rowElements * elementStride {
      rowElements = window.upperBound
    }
    if window.upperBound <= rowElements {
      offset += window.lowerBound * elementStride * size
      window = 0..<window.count
      if window.count == 1 { elementStride = 1 }
      (rowElements, rowStride) = (window.count, window.count * elementStride)
    }
    self.source = source
    self.offset = offset
    self.rowElements = rowElements
    self.rowStride = rowStride
    self.elementStride = elementStride
    self.window = window
    self.cast = cast
  }

  /// `count` elements from byte `offset` of `source` on.
  static func contiguous(_ source: any ByteSource, offset: Int, count: Int, _ cast: Cast) -> TensorRun {
    TensorRun(
      source: source, offset: offset, rowElements: count, rowStride: count, window: 0..<count, cast: cast)
  }

  /// The elements of `extents`, of the type that `cast` takes: a source of their own, which is read whenever the run is.
  static func over(_ extents: [ElementExtent], _ cast: Cast) -> TensorRun {
    let file = VirtualFile(extents.map { $0.bytes(cast.source) })
    return .contiguous(
      VirtualFileSource(file, name: "a tensor computed from others"), offset: 0,
      count: file.count / cast.source.size, cast)
  }

  /// Rows that the window reaches into.
  package var rows: Int { (window.upperBound + rowElements - 1) / rowElements }

  /// Whether all elements are one stride apart.
  private var isOneRow: Bool { window.upperBound <= rowElements }

  /// - Parameter range: elements of the window.
  func slice(_ range: Range<Int>) -> TensorRun {
    TensorRun(
      source: source, offset: offset, rowElements: rowElements, rowStride: rowStride,
      elementStride: elementStride,
      window: (window.lowerBound + range.lowerBound)..<(window.lowerBound + range.upperBound), cast: cast)
  }

  func with(_ cast: Cast) -> TensorRun {
    TensorRun(
      source: source, offset: offset, rowElements: rowElements, rowStride: rowStride,
      elementStride: elementStride, window: window, cast: cast)
  }

  /// This run and `next` as one; `nil` where `next` isn't what a longer run would go on with.
  func joined(_ next: TensorRun) -> TensorRun? {
    guard source === next.source, cast == next.cast, next.offset > offset else { return nil }
    let (distance, rest) = (next.offset - offset).quotientAndRemainder(dividingBy: cast.source.size)
    guard rest == 0 else { return nil }
    let count = window.count + next.window.count
    if isOneRow, next.isOneRow {
      let stride = window.count > 1 ? elementStride : next.elementStride
      guard distance == window.count * stride, next.window.count == 1 || next.elementStride == stride else {
        return nil
      }
      return TensorRun(
        source: source, offset: offset, rowElements: count, rowStride: 0, elementStride: stride,
        window: 0..<count, cast: cast)
    }
    let (long, other) = isOneRow ? (next, self) : (self, next)
    guard hasWholeRows, next.hasWholeRows, other.rowElements == long.rowElements,
      other.elementStride == long.elementStride, other.isOneRow || other.rowStride == long.rowStride,
      distance == rows * long.rowStride
    else { return nil }
    return TensorRun(
      source: source, offset: offset, rowElements: long.rowElements, rowStride: long.rowStride,
      elementStride: long.elementStride, window: 0..<count, cast: cast)
  }

  private var hasWholeRows: Bool {
    window.lowerBound == 0 && window.upperBound.isMultiple(of: rowElements)
  }
}

/// A run as a matrix: element (i, j) stands `i * rowStride + j * elementStride` elements behind `offset`.
struct StridedMatrix {
  var source: any ByteSource
  /// Bytes.
  var offset: Int
  var rows: Int
  var cols: Int
  var rowStride: Int
  var elementStride: Int
  var cast: Cast

  /// The run's elements as `[rows, cols]`; `nil` where two strides don't reach them.
  init?(_ run: TensorRun, rows: Int, cols: Int) {
    precondition(run.window.count == rows * cols)
    if run.window.upperBound <= run.rowElements {
      rowStride = cols * run.elementStride
    } else if run.rowElements == cols && run.window.lowerBound == 0 {
      rowStride = run.rowStride
    } else {
      return nil
    }
    (source, offset, elementStride, cast) = (run.source, run.offset, run.elementStride, run.cast)
    (self.rows, self.cols) = (rows, cols)
  }

  /// - Parameter run: as `TensorRun.contiguous` makes it.
  init(contiguous run: TensorRun, rows: Int, cols: Int) {
    (source, offset, cast) = (run.source, run.offset, run.cast)
    (self.rows, self.cols, rowStride, elementStride) = (rows, cols, cols, 1)
  }

  var run: TensorRun {
    TensorRun(
      source: source, offset: offset, rowElements: cols, rowStride: rowStride, elementStride: elementStride,
      window: 0..<(rows * cols), cast: cast)
  }

  func columns(_ range: Range<Int>) -> StridedMatrix {
    var result = self
    result.offset += range.lowerBound * elementStride * cast.source.size
    result.cols = range.count
    return result
  }

  func transposed() -> StridedMatrix {
    var result = self
    (result.rows, result.cols) = (cols, rows)
    (result.rowStride, result.elementStride) = (elementStride, rowStride)
    return result
  }

  /// The two side by side, where `next` is the columns that follow in the source.
  func joined(_ next: StridedMatrix) -> StridedMatrix? {
    guard source === next.source, cast == next.cast, rows == next.rows,
      cols == 1 || elementStride == next.elementStride || next.cols == 1, rowStride == next.rowStride
    else { return nil }
    let stride = cols > 1 ? elementStride : next.cols > 1 ? next.elementStride : 1
    guard next.offset == offset + cols * stride * cast.source.size else { return nil }
    var result = self
    (result.cols, result.elementStride) = (cols + next.cols, stride)
    return result
  }
}
