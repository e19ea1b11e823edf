/// Embedding rows behind the model's own: those of tokens that the run's tokenizer has and the model hasn't, and those with
/// which Megatron pads the vocabulary so that it splits evenly over tensor-parallel ranks
/// (`megatron/tokenizer/tokenizer.py`: `_vocab_size_with_padding`).
package struct PaddedVocabulary: Sendable {
  /// What the rows hold. MDS itself initialises them at random; its converter fills them with the mean row.
  package enum Filling: String, Codable, Sendable, CaseIterable { case zero, mean }

  /// Rows of the model's files.
  package let rows: Int
  /// Rows that stand for a token: the model's, and those of tokens behind them.
  package let size: Int
  /// Rows of the checkpoint, over all tensor-parallel ranks.
  package let padded: Int
  /// `--make-vocab-size-divisible-by`.
  let divisor: Int
  let filling: Filling

  /// - Parameter tokens: of the run's tokenizer, where that is known. A model that has more rows keeps them.
  init(rows: Int, tokens: Int? = nil, divisor: Int, tp: Int, filling: Filling) {
    self.rows = rows
    size = max(rows, tokens ?? rows)
    self.divisor = divisor
    padded = PaddedVocabulary.padded(size, divisor: divisor, tp: tp)
    self.filling = filling
  }

  /// Without padding.
  init(unpadded size: Int) { self.init(rows: size, divisor: 1, tp: 1, filling: .zero) }
}

extension PaddedVocabulary {
  func warnings(tp: Int) -> [String] { growth + padding(tp: tp) }

  private var growth: [String] {
    guard size > rows else { return [] }
    return [
      "vocabulary: the tokenizer has \(size) tokens, and the model \(rows) rows: the rows \(rows) to \(size - 1) of embedding and "
        + "output layer are new, and \(filling == .zero ? "zeros (--vocab-padding mean fills them with the mean row)" : "the mean of the model's")."
    ]
  }

  private func padding(tp: Int) -> [String] {
    guard padded > size else { return [] }
    let effect =
      filling == .zero
      ? "Rows of zeros give logits of 0, each adding exp(0) to the softmax's sum: the loss is a little higher than "
        + "transformers' until training pushes them down."
      : "Each has the mean row's logit, which adds to the softmax's sum: the loss is a little higher than transformers'."
    let better = divisor(tokens: nil, tp: tp)
    let isExact = PaddedVocabulary.padded(size, divisor: better, tp: tp) == size
    let way = isExact ? " --make-vocab-size-divisible-by \(better), here and in the run, avoids it." : ""
    return [
      "vocabulary: \(size) rows, padded with \(padded - size) to \(padded) at TP \(tp). \(effect)\(way)"
    ]
  }
}
