package struct Block: Sendable, Equatable {
  package let rows: Range<Int>
  package let columns: Range<Int>
  package init(rows: Range<Int>, columns: Range<Int>) { (self.rows, self.columns) = (rows, columns) }
}
extension TensorExpression {
  package func block(_ b: Block) -> TensorExpression {
    let r = b.rows == 0..<shape[0] ? self : rows(b.rows)
    return shape.count < 2 || b.columns == 0..<shape[1] ? r : r.columns(b.columns)
  }
  package static func assembling(_ shape: [Int], _ pieces: [(Block, TensorExpression)], dtype: DType)
    -> TensorExpression
  {
    let s = pieces.filter { !$0.0.rows.isEmpty }.sorted { $0.0.rows.lowerBound < $1.0.rows.lowerBound }.map(
      \.1)
    if s.isEmpty { return .zeros(shape, dtype) }
    return TensorExpression.concatenating(s).paddingRows(to: shape[0])
  }
  package static func filled(_ v: Float, _ shape: [Int], _ dtype: DType) -> TensorExpression {
    precondition(v == 0)
    return .zeros(shape, dtype)
  }
  package func transposed() -> TensorExpression { preconditionFailure() }
  package func scaled(by: Float) -> TensorExpression { preconditionFailure() }
  package func adding(_: Float) -> TensorExpression { preconditionFailure() }
}
