import Bytes
import Synchronization

/// `embedding.mean(dim=0)` of a `[rows, cols]` tensor, in its dtype, with the bits that PyTorch computes on a CPU: fp32 sums
/// in the order of ATen `native/cpu/SumKernel.cpp`: `multi_row_sum`, one division, one rounding. Computed when first read.
final class ColumnMean: ByteSource {
  private let tensor: TensorExpression
  private let row = Mutex<[UInt8]?>(nil)

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
    let (rows, cols) = (tensor.shape[0], tensor.shape[1])
    let widened = VirtualFile(tensor.cast(to: .float32).extents)
    let levelPower = max(4, (Int.bitWidth - (rows - 1).leadingZeroBitCount) / ColumnMean.levels)
    let levelStep = 1 << levelPower
    var sums = [[Float]](repeating: [Float](repeating: 0, count: cols), count: ColumnMean.levels)
    var gather = Gather(capacity: levelStep * cols * 4)

    func add(rows range: Range<Int>) throws(ReadError) {
      let window = (range.lowerBound * cols * 4)..<(range.upperBound * cols * 4)
      try widened.read(window, into: &gather, verbatim: .copied)
      var column = 0
      gather.forEachPiece { piece in
        for value in piece.assumingMemoryBound(to: Float.self) {
          sums[0][column] += value
          column = column + 1 == cols ? 0 : column + 1
        }
      }
    }
    func carry(_ level: Int) {
      for column in 0..<cols {
        sums[level][column] += sums[level - 1][column]
        sums[level - 1][column] = 0
      }
    }

    var row = 0
    while row + levelStep <= rows {
      try add(rows: row..<(row + levelStep))
      row += levelStep
      for level in 1..<ColumnMean.levels {
        carry(level)
        if row & ((levelStep - 1) << (level * levelPower)) != 0 { break }
      }
    }
    if row < rows { try add(rows: row..<rows) }
    for level in 1..<ColumnMean.levels {
      for column in 0..<cols { sums[0][column] += sums[level][column] }
    }
    let divisor = Float(rows)
    let means = sums[0].map { $0 / divisor }
    let size = tensor.dtype.size
    return [UInt8](unsafeUninitializedCapacity: cols * size) { buffer, count in
      means.withUnsafeBytes {
        CastKernel.apply(
          Cast(.float32, to: tensor.dtype), from: $0, to: UnsafeMutableRawBufferPointer(buffer))
      }
      count = cols * size
    }
  }
}
