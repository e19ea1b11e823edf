import Bytes

/// Embedding rows behind the model's own: Megatron pads the vocabulary so that it splits evenly over tensor-parallel ranks
/// (`megatron/tokenizer/tokenizer.py`: `_vocab_size_with_padding`).
package struct PaddedVocabulary: Sendable {
  /// What the rows hold. MDS itself initialises them at random; its converter fills them with the mean row.
  package enum Filling: String, Codable, Sendable, CaseIterable { case zero, mean }

  /// Rows of the model.
  package let size: Int
  /// Rows of the checkpoint, over all tensor-parallel ranks.
  package let padded: Int
  /// `--make-vocab-size-divisible-by`.
  let divisor: Int
  let filling: Filling

  init(size: Int, divisor: Int, tp: Int, filling: Filling) {
    let multiple = divisor * tp
    self.size = size
    self.divisor = divisor
    padded = (size + multiple - 1) / multiple * multiple
    self.filling = filling
  }

  /// Without padding.
  init(unpadded size: Int) { self.init(size: size, divisor: 1, tp: 1, filling: .zero) }

  /// `[padded / size, h]`: the rows of rank `tp` of an embedding `[vocab, h]`.
  func rows(of embedding: Embedding, tp: Int, size: Int) -> TensorExpression {
    let share = padded / size
    let (start, end) = (tp * share, (tp + 1) * share)
    let real = embedding.rows.rows(min(start, self.size)..<min(end, self.size))
    let missing = share - real.shape[0]
    guard missing > 0 && filling == .mean else { return real.paddingRows(to: share) }
    return .concatenating([
      real,
      .repeatingRow(of: embedding.mean, rows: missing, cols: real.shape[1], dtype: real.dtype),
    ])
  }
}

/// `[vocab, h]`: an input or output embedding, and the mean of its rows.
struct Embedding: Sendable {
  let rows: TensorExpression
  let mean: ColumnMean

  init(_ rows: TensorExpression) {
    self.rows = rows
    mean = ColumnMean(rows)
  }
}
