import Testing

@testable import Bytes

/// Sizes that random small tensors don't reach: longer than what is read at a time, with more pieces than `writev` takes.
@Suite struct LongWindowTests {
  private typealias Pair = (tensor: TensorExpression, dense: DenseTensor)

  private static func numbered(_ rows: Int, _ cols: Int, _ dtype: DType = .bfloat16) -> Pair {
    let elements = (0..<(rows * cols)).map { UInt64($0 &* 2_654_435 & 0x3FFF) }
    let dense = DenseTensor(shape: [rows, cols], dtype: dtype, elements)
    return (MemorySource(dense.bytes).tensor([rows, cols], dtype), dense)
  }

  private static func zeros(_ rows: Int, _ cols: Int) -> Pair {
    (
      .zeros([rows, cols], .bfloat16),
      DenseTensor(shape: [rows, cols], dtype: .bfloat16, [UInt64](repeating: 0, count: rows * cols))
    )
  }

  private static func sideBySide(_ pairs: [Pair]) -> Pair {
    (.concatenatingColumns(pairs.map(\.tensor)), .concatenatingColumns(pairs.map(\.dense)))
  }

  private static func expression(_ name: String) -> Pair {
    let (tensor, dense) = numbered(150, 700)
    switch name {
    case "transposed": return (tensor.transposed(), dense.transposed())
    case "transposed, widened":
      return (tensor.transposed().cast(to: .float32), dense.transposed().cast(to: .float32))
    case "long rows transposed":
      let (tensor, dense) = numbered(3, 70_000)
      return (tensor.transposed(), dense.transposed())
    case "a column, far apart": return (tensor.columns(5..<6), dense.columns(5..<6))
    case "every other element":
      let (flat, array) = (tensor.reshaped([52_500, 2]), dense.reshaped([52_500, 2]))
      return (flat.columns(1..<2).cast(to: .float32), array.columns(1..<2).cast(to: .float32))
    case "more pieces than writev takes":
      return sideBySide([numbered(600, 150), zeros(600, 140), numbered(600, 130)])
    case "blocks":
      let pairs = [
        numbered(500, 601), numbered(500, 3),
        (numbered(90, 500).tensor.transposed(), numbered(90, 500).dense.transposed()),
      ]
      let (tensor, dense) = sideBySide(pairs)
      return (tensor.cast(to: .float32), dense.cast(to: .float32))
    case "repeated, transposed":
      let row = numbered(1, 300)
      let repeated = TensorExpression.repeatingRow(
        of: MemorySource(row.dense.bytes), rows: 200, cols: 300, dtype: .bfloat16)
      return (repeated.transposed(), row.dense.rows([Int](repeating: 0, count: 200)).transposed())
    default:
      // Columns of rows that were columns, at another width.
      let (inner, array) = (
        tensor.columns(0..<350).reshaped([105, 500]), dense.columns(0..<350).reshaped([105, 500])
      )
      return (inner.columns(100..<450).transposed(), array.columns(100..<450).transposed())
    }
  }

  @Test(arguments: [
    "transposed", "transposed, widened", "long rows transposed", "a column, far apart", "every other element",
    "more pieces than writev takes", "blocks", "repeated, transposed", "columns of columns",
  ])
  func windows(name: String) throws {
    var generator = SeededGenerator(seed: 5)
    let (tensor, dense) = LongWindowTests.expression(name)
    let whole = dense.bytes
    let file = VirtualFile(tensor.extents)
    #expect(file.count == whole.count)
    let windows =
      [0..<file.count]
      + (0..<4).map { _ in
        let start = Int.random(in: 0...file.count, using: &generator)
        return start..<Int.random(in: start...file.count, using: &generator)
      }
    for window in windows {
      for runs in [Gather.VerbatimRuns.copied, .mapped] {
        var gather = Gather(capacity: max(1, window.count))
        try file.read(window, into: &gather, verbatim: runs)
        #expect(gather.pieces.count <= 1024, "\(window)")
        var bytes: [UInt8] = []
        gather.forEachPiece { bytes += $0 }
        #expect(bytes == Array(whole[window]), "\(window)")
      }
    }
  }
}
