extension PaddedVocabulary {
  /// The rows that MDS makes of `tokens`, over all tensor-parallel ranks.
  static func padded(_ tokens: Int, divisor: Int, tp: Int) -> Int {
    let multiple = divisor * tp
    return (tokens + multiple - 1) / multiple * multiple
  }

  /// The divisor that makes this vocabulary of a tokenizer's `tokens`; without padding where that is possible.
  func divisor(tokens: Int?, tp: Int) -> Int { PaddedVocabulary.divisor(rows: size, tokens: tokens, tp: tp) }

  /// `--make-vocab-size-divisible-by` with which MDS makes as many rows of `tokens` as of the model's `rows`: if it can be, these
  /// and no more, by MDS's own 128, the largest number below or the smallest above it; else the multiple of 128 that adds the
  /// fewest.
  ///
  /// - Parameter tokens: that MDS counts in the tokenizer; `nil` where it counts the model's rows.
  static func divisor(rows: Int, tokens: Int?, tp: Int) -> Int {
    let usual = 128
    let tokens = min(tokens ?? rows, rows)
    func fits(_ divisor: Int) -> Bool {
      padded(tokens, divisor: divisor, tp: tp) == padded(rows, divisor: divisor, tp: tp)
    }
    if rows.isMultiple(of: tp) {
      // Every divisor of a rank's share, in pairs.
      let share = rows / tp
      let divisors = (1...max(1, Int(Double(share).squareRoot()))).filter { share.isMultiple(of: $0) }
        .flatMap { [$0, share / $0] }.filter(fits)
      if let below = divisors.filter({ $0 <= usual }).max() { return below }
      if let above = divisors.min() { return above }
    }
    return (1...max(1, rows / usual + 1)).lazy.map { $0 * usual }.first(where: fits) ?? rows
  }
}
