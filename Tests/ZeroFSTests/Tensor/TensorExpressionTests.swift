import Testing

@testable import Bytes

/// The algebra against plain arrays: every operation on elements that are their own index.
@Suite struct TensorExpressionTests {
  private func indices(_ shape: [Int]) -> (TensorExpression, [UInt16]) {
    let values = (0..<shape.reduce(1, *)).map { UInt16($0) }
    let bytes = values.flatMap { [UInt8($0 & 0xFF), UInt8($0 >> 8)] }
    return (MemorySource(bytes).tensor(shape, .int16), values)
  }

  private func values(_ tensor: TensorExpression) throws -> [UInt16] {
    let bytes = try tensor.bytes()
    return stride(from: 0, to: bytes.count, by: 2).map { UInt16(bytes[$0]) | UInt16(bytes[$0 + 1]) << 8 }
  }

  @Test func rows() throws {
    let (tensor, all) = indices([6, 5])
    #expect(tensor.rows(2..<5).shape == [3, 5])
    #expect(try values(tensor.rows(2..<5)) == Array(all[10..<25]))
  }

  @Test func columns() throws {
    let (tensor, all) = indices([6, 5])
    let columns = tensor.columns(1..<3)
    #expect(columns.shape == [6, 2])
    #expect(try values(columns) == (0..<6).flatMap { all[($0 * 5 + 1)..<($0 * 5 + 3)] })
  }

  @Test func columnsOfRowsAndBack() throws {
    let (tensor, all) = indices([6, 5])
    #expect(
      try values(tensor.rows(1..<4).columns(3..<5)) == (1..<4).flatMap { all[($0 * 5 + 3)..<($0 * 5 + 5)] })
    #expect(
      try values(tensor.columns(3..<5).rows(1..<4)) == (1..<4).flatMap { all[($0 * 5 + 3)..<($0 * 5 + 5)] })
  }

  @Test func concatenatingPaddingAndColumns() throws {
    let (tensor, all) = indices([4, 3])
    let padded = TensorExpression.concatenating([tensor.rows(2..<4), tensor.rows(0..<1)]).paddingRows(to: 5)
    #expect(padded.shape == [5, 3])
    #expect(try values(padded) == Array(all[6..<12]) + Array(all[0..<3]) + [UInt16](repeating: 0, count: 6))
    #expect(try values(padded.columns(1..<2)) == [7, 10, 1, 0, 0])
  }

  @Test func repeatedRow() throws {
    let source = MemorySource([1, 0, 2, 0])
    let tensor = TensorExpression.repeatingRow(of: source, rows: 3, cols: 2, dtype: .int16)
    #expect(try values(tensor) == [1, 2, 1, 2, 1, 2])
    #expect(try values(tensor.flattened().rows(1..<4)) == [2, 1, 2])
  }

  /// A ZeRO partition cuts strided runs mid-row: any slice of the flattened tensor is that slice of the whole.
  @Test(arguments: [UInt64(1), 2, 3, 4])
  func slicesOfStridedRuns(seed: UInt64) throws {
    var generator = SeededGenerator(seed: seed)
    let (tensor, _) = indices([7, 9])
    let expression = TensorExpression.concatenating([
      tensor.columns(2..<6), tensor.rows(0..<3).columns(5..<9),
    ]).flattened()
    let whole = try values(expression)
    for _ in 0..<200 {
      let start = Int.random(in: 0...expression.count, using: &generator)
      let end = Int.random(in: start...expression.count, using: &generator)
      #expect(
        try values(expression.rows(start..<end)) == Array(whole[start..<end]),
        "seed \(seed), \(start)..<\(end)")
    }
  }
}
