/// The MT19937 generator behind Python's `random`, `numpy.random` and torch's CPU generator: its state, not
/// its output.
///
/// The state is a window of 624 words of the linear sequence
///
///     x[i] = x[i - 227] ^ twist(top bit of x[i - 624], low 31 bits of x[i - 623])
///
/// which the three libraries all refresh a block at a time (Matsumoto & Nishimura 1998; CPython
/// Modules/_randommodule.c: genrand_uint32; numpy _mt19937.c: mt19937_gen; ATen/core/MT19937RNGEngine.h).
struct MersenneTwister: Equatable, Sendable {
  /// Words per block.
  static let blockWords = 624
  private static let middle = 397
  private static let twistMatrix: UInt32 = 0x9908_B0DF

  /// The current block, 624 words.
  private(set) var block: [UInt32]
  /// How many words of `block` are used up, 0...624; 624 makes the next draw compute a new block.
  private(set) var position: Int

  /// Knuth's seeding by one word (`init_genrand`), as numpy's `np.random.seed` and torch's `manual_seed` do.
  init(seed: UInt32) {
    block = [seed]
    block.reserveCapacity(MersenneTwister.blockWords)
    for index in 1..<MersenneTwister.blockWords {
      let previous = block[index - 1]
      block.append((previous ^ previous >> 30) &* 1_812_433_253 &+ UInt32(index))
    }
    position = MersenneTwister.blockWords
  }

  /// Seeding by an array of words (`init_by_array`), as Python's `random.seed(int)` does with the 32-bit
  /// digits of the integer, least significant first (CPython Modules/_randommodule.c: random_seed).
  /// - Parameter key: at least one word.
  init(key: [UInt32]) {
    precondition(!key.isEmpty)
    self.init(seed: 19_650_218)
    let count = MersenneTwister.blockWords
    var index = 1
    func next(_ index: Int, _ block: inout [UInt32]) -> Int {
      if index + 1 < count { return index + 1 }
      block[0] = block[count - 1]
      return 1
    }
    for step in 0..<max(count, key.count) {
      let previous = block[index - 1]
      let digit = step % key.count
      block[index] = (block[index] ^ (previous ^ previous >> 30) &* 1_664_525) &+ key[digit] &+ UInt32(digit)
      index = next(index, &block)
    }
    for _ in 1..<count {
      let previous = block[index - 1]
      block[index] = (block[index] ^ (previous ^ previous >> 30) &* 1_566_083_941) &- UInt32(index)
      index = next(index, &block)
    }
    block[0] = 0x8000_0000
  }

  /// The state after `words` more 32-bit draws, in milliseconds however many they are.
  ///
  /// Every bit of x obeys the same linear recurrence, so with g = t^d mod the characteristic polynomial, x[d
  /// + k] is the sum of x[i + k] over the terms t^i of g (Haramoto et al. 2008, "Efficient jump ahead for
  /// F2-linear random number generators"). The low 31 bits of x[0] are no part of the state; so everything is
  /// counted from x[1].
  /// - Parameter words: 0 or more.
  mutating func advance(words: Int) {
    precondition(words >= 0)
    let count = MersenneTwister.blockWords
    let target = position + words
    guard target > count else {
      position = target
      return
    }
    let start = (target - 1) / count * count
    let power = TwistPolynomial(powerOfT: start - 1)
    let sequence = sequence(words: 1 + TwistPolynomial.degree + count)
    var jumped = [UInt32](repeating: 0, count: count)
    for exponent in power.exponents {
      for index in 0..<count { jumped[index] ^= sequence[1 + exponent + index] }
    }
    block = jumped
    position = target - start
  }

  /// x[0..<words], beginning with the current block.
  private func sequence(words: Int) -> [UInt32] {
    let count = MersenneTwister.blockWords
    var sequence = block
    sequence.reserveCapacity(words)
    for index in count..<words {
      let mixed = sequence[index - count] & 0x8000_0000 | sequence[index - count + 1] & 0x7FFF_FFFF
      let twist = mixed & 1 == 0 ? 0 : MersenneTwister.twistMatrix
      sequence.append(sequence[index - count + MersenneTwister.middle] ^ mixed >> 1 ^ twist)
    }
    return sequence
  }
}

/// A polynomial over GF(2) modulo the characteristic polynomial of MT19937's recurrence, one bit per
/// coefficient.
private struct TwistPolynomial {
  static let degree = 19_937
  private static let wordCount = (degree + 63) / 64

  /// Bit i % 64 of word i / 64 is the coefficient of t^i.
  private var words: [UInt64]

  /// t^exponent, by squaring.
  init(powerOfT exponent: Int) {
    words = [UInt64](repeating: 0, count: TwistPolynomial.wordCount)
    words[0] = 1
    for bit in (0..<Int.bitWidth - exponent.leadingZeroBitCount).reversed() {
      square(timesT: exponent >> bit & 1 == 1)
    }
  }

  /// The terms, lowest first.
  var exponents: [Int] {
    (0..<TwistPolynomial.degree).filter { words[$0 / 64] >> UInt64($0 % 64) & 1 == 1 }
  }

  /// A square over GF(2) only spreads the bits apart.
  private mutating func square(timesT: Bool) {
    var wide = [UInt64](repeating: 0, count: 2 * TwistPolynomial.wordCount + 1)
    for exponent in exponents {
      let spread = 2 * exponent + (timesT ? 1 : 0)
      wide[spread / 64] |= 1 << UInt64(spread % 64)
    }
    TwistPolynomial.reduce(&wide)
    words = Array(wide.prefix(TwistPolynomial.wordCount))
  }

  /// Replaces t^degree by the lower terms. The next term is 623 below the leading one, so whole words can be
  /// folded, from the top, without folding into themselves.
  private static func reduce(_ wide: inout [UInt64]) {
    for index in (degree / 64..<wide.count).reversed() {
      let first = max(index * 64, degree)
      let bits = wide[index] >> UInt64(first % 64)
      wide[index] ^= bits << UInt64(first % 64)
      guard bits != 0 else { continue }
      for term in lowerTerms {
        let target = first - degree + term
        wide[target / 64] ^= bits << UInt64(target % 64)
        if target % 64 != 0 { wide[target / 64 + 1] ^= bits >> UInt64(64 - target % 64) }
      }
    }
  }

  /// The terms below t^19937 of the characteristic polynomial P(…((Q + a0)Q + a1)Q… + a30) + a31, where
  /// P = t^624 + t^397, Q = t^623 + t^396 and a0…a31 are the bits of the twist matrix, lowest first
  /// (Matsumoto & Nishimura 1998, appendix A).
  private static let lowerTerms: [Int] = {
    var terms: Set<Int> = [0]
    func multiply(_ high: Int, _ low: Int, plus bit: Int) {
      terms = Set(terms.map { $0 + high }).symmetricDifference(terms.map { $0 + low })
      if 0x9908_B0DF >> bit & 1 == 1 { terms.formSymmetricDifference([0]) }
    }
    for bit in 0..<31 { multiply(623, 396, plus: bit) }
    multiply(624, 397, plus: 31)
    return terms.subtracting([degree]).sorted()
  }()
}
