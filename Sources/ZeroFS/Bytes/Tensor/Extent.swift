/// Elements of a source, row by row: `rows` × `rowElements`, the starts of two rows `rowStride` elements apart.
///
/// `window` is the part in use, in elements of the row-major `rows * rowElements`. ZeRO cuts partitions mid-row, so a
/// column slice that is also widened needs all of it. A stride of 0 repeats one row.
package struct TensorRun: Sendable {
  package let source: any ByteSource
  /// Where element 0 of row 0 stands in `source`, in bytes.
  package let offset: Int
  package let rows: Int
  package let rowElements: Int
  package let rowStride: Int
  package let window: Range<Int>
  package let cast: Cast

  init(
    source: any ByteSource, offset: Int, rows: Int, rowElements: Int, rowStride: Int, window: Range<Int>,
    cast: Cast
  ) {
    if rows > 1 && rowElements != rowStride {
      (self.offset, self.rows, self.rowElements, self.rowStride) = (offset, rows, rowElements, rowStride)
      self.window = window
    } else {
      // One piece without gaps: the window becomes part of the offset.
      self.offset = offset + window.lowerBound * cast.source.size
      (self.rows, self.rowElements, self.rowStride) = (1, window.count, window.count)
      self.window = 0..<window.count
    }
    self.source = source
    self.cast = cast
  }

  var isContiguous: Bool { rows == 1 }

  func slice(_ range: Range<Int>) -> TensorRun {
    TensorRun(
      source: source, offset: offset, rows: rows, rowElements: rowElements, rowStride: rowStride,
      window: (window.lowerBound + range.lowerBound)..<(window.lowerBound + range.upperBound), cast: cast)
  }

  func cast(to dtype: DType) -> TensorRun {
    TensorRun(
      source: source, offset: offset, rows: rows, rowElements: rowElements, rowStride: rowStride,
      window: window,
      cast: cast.then(dtype))
  }
}

/// A run of elements in the normal form of a lazy tensor; counts are elements.
package enum ElementExtent: Sendable {
  case zeros(Int)
  case run(TensorRun)

  var count: Int {
    switch self {
    case .zeros(let count): count
    case .run(let run): run.window.count
    }
  }

  func slice(_ range: Range<Int>) -> ElementExtent {
    switch self {
    case .zeros: .zeros(range.count)
    case .run(let run): .run(run.slice(range))
    }
  }
}

/// A run of bytes of a virtual file.
package enum Extent: Sendable {
  case literal([UInt8])
  case zeros(count: Int)
  case tensor(TensorRun)
  /// Four bytes, little-endian: the CRC-32 of the `of` bytes of the same file, which stand before it. Known only to who has read
  /// these (`SequentialReader`); a window has zeros there.
  case checksum(of: Range<Int>)

  /// Bytes.
  package var count: Int {
    switch self {
    case .literal(let bytes): bytes.count
    case .checksum: 4
    case .zeros(let count): count
    case .tensor(let run): run.window.count * run.cast.target.size
    }
  }
}
