import Bytes

/// `embedding.mean(dim=0)` of a `[rows, cols]` tensor, in its dtype, with the bits that PyTorch computes on a CPU: fp32 sums
/// in the order of ATen `native/cpu/SumKernel.cpp`: `multi_row_sum`, one division, one rounding. Computed when first read.
final class ColumnMean: ByteSource {
  private let tensor: TensorExpression
  private let row = LockedValue<[UInt8]?>(nil)

  init(_ tensor: TensorExpression) { self.tensor = tensor }

  var name: String { "mean of the embedding's rows" }
  var mapping: UnsafeRawBufferPointer? { nil }

  func verify() throws(ReadError) {
    for run in tensor.extents.flatMap(\.runs) { try run.source.verify() }
  }

  /// The whole tensor, whatever is asked for.
  func sourceRanges(of range: Range<Int>) -> [SourceRange] {
    let file = VirtualFile(tensor.extents)
    return file.sourceRanges(of: 0..<file.count)
  }

  func read(at offset: Int, into buffer: UnsafeMutableRawBufferPointer) throws(ReadError) {
    let result = row.withLock { row -> Result<[UInt8], ReadError> in
      if let row { return .success(row) }
      do throws(ReadError) {
        let computed = try mean()
        row = computed
        return .success(computed)
      } catch { return .failure(error) }
    }
    let bytes = try result.get()
    buffer.copyBytes(from: bytes[offset..<(offset + buffer.count)])
  }

  /// Levels of partial sums, which keep the rounding error of long columns small.
  private static let levels = 4

  private func mean() throws(ReadError) -> [UInt8] {
    let divisor = Float(tensor.shape[0])
    let means = try sums().map { $0 / divisor }
    let size = means.count * tensor.dtype.size
    return [UInt8](unsafeUninitializedCapacity: size) { buffer, count in
      means.withUnsafeBytes {
        CastKernel.apply(
          Cast(.float32, to: tensor.dtype), from: $0, to: UnsafeMutableRawBufferPointer(buffer))
      }
      count = size
    }
  }

  private func sums() throws(ReadError) -> [Float] {
    let (rows, cols) = (tensor.shape[0], tensor.shape[1])
    let levelPower = max(4, (Int.bitWidth - (rows - 1).leadingZeroBitCount) / ColumnMean.levels)
    let levelStep = 1 << levelPower
    var reader = RowReader(tensor, maxRows: levelStep)
    var sums = [[Float]](repeating: [Float](repeating: 0, count: cols), count: ColumnMean.levels)

    func carry(_ level: Int) {
      for column in 0..<cols {
        sums[level][column] += sums[level - 1][column]
        sums[level - 1][column] = 0
      }
    }

    var row = 0
    while row + levelStep <= rows {
      try reader.add(rows: row..<(row + levelStep), to: &sums[0])
      row += levelStep
      for level in 1..<ColumnMean.levels {
        carry(level)
        if row & ((levelStep - 1) << (level * levelPower)) != 0 { break }
      }
    }
    if row < rows { try reader.add(rows: row..<rows, to: &sums[0]) }
    for level in 1..<ColumnMean.levels {
      for column in 0..<cols { sums[0][column] += sums[level][column] }
    }
    return sums[0]
  }
}

/// Rows of a tensor, as fp32.
private struct RowReader: ~Copyable {
  private let widened: VirtualFile
  private let cols: Int
  private var gather: Gather

  /// - Parameter maxRows: of one call.
  init(_ tensor: TensorExpression, maxRows: Int) {
    cols = tensor.shape[1]
    widened = VirtualFile(tensor.cast(to: .float32).extents)
    gather = Gather(capacity: maxRows * cols * 4)
  }

  /// Adds each row in turn to `sums`, element by element.
  mutating func add(rows: Range<Int>, to sums: inout [Float]) throws(ReadError) {
    let window = (rows.lowerBound * cols * 4)..<(rows.upperBound * cols * 4)
    try widened.read(window, into: &gather, verbatim: .copied)
    var column = 0
    gather.forEachPiece { piece in
      for value in piece.assumingMemoryBound(to: Float.self) {
        sums[column] += value
        column = column + 1 == cols ? 0 : column + 1
      }
    }
  }
}
