import Testing

@testable import Checkpoints

struct VocabularyDivisorTests {
  /// What MDS does (`megatron/tokenizer/tokenizer.py`: `_vocab_size_with_padding`), one by one.
  private func counted(_ tokens: Int, divisor: Int, tp: Int) -> Int {
    var after = tokens
    while after % (divisor * tp) != 0 { after += 1 }
    return after
  }

  /// Rows, tokens that the tokenizer counts, TP; the divisor, and the rows that it makes.
  @Test(arguments: [
    (32000, 32000, 1, 128, 32000), (32000, 32000, 8, 125, 32000), (128256, 128256, 8, 96, 128256),
    // Llama-3's tokenizer counts 256 less than the model has.
    (128256, 128000, 1, 334, 128256), (128256, 128000, 8, 96, 128256),
    (50257, 50257, 1, 29, 50257), (50257, 50257, 2, 128, 50432), (151936, 151643, 4, 1187, 151936),
  ])
  func divisor(rows: Int, tokens: Int, tp: Int, divisor: Int, padded: Int) {
    let found = PaddedVocabulary.divisor(rows: rows, tokens: tokens, tp: tp)
    #expect(counted(tokens, divisor: found, tp: tp) == padded)
    #expect(counted(rows, divisor: found, tp: tp) == padded)
    #expect(found == divisor)
  }

  /// Whatever the sizes: the run has as many rows as the checkpoint, and none too many where that can be.
  @Test func everyVocabularyHasOne() {
    var generator = SeededGenerator(seed: 7)
    for _ in 0..<300 {
      let rows = Int.random(in: 1...3000, using: &generator)
      let tokens = Int.random(in: max(1, rows - 300)...rows, using: &generator)
      let tp = [1, 2, 3, 4, 8].randomElement(using: &generator) ?? 1
      let found = PaddedVocabulary.divisor(rows: rows, tokens: tokens, tp: tp)
      let padded = counted(tokens, divisor: found, tp: tp)
      #expect(padded == counted(rows, divisor: found, tp: tp), "\(rows) rows, \(tokens) tokens, TP \(tp)")
      let isPossible = (1...max(1, rows / tp)).contains { divisor in
        counted(tokens, divisor: divisor, tp: tp) == rows && rows % (divisor * tp) == 0
      }
      #expect((padded == rows) == isPossible, "\(rows) rows, \(tokens) tokens, TP \(tp)")
    }
  }
}
