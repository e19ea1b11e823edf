/// SHA-256 (FIPS 180-4), for fingerprints that `sha256sum` can check: of descriptions and headers, some kilobytes each.
///
/// By hand, against the rule that a library does such things: one more shared library would have to be on every node that mounts,
/// for 60 lines that never change and that the standard's own examples hold.
package struct SHA256 {
  /// The first eight bytes, big-endian.
  package let prefix: UInt64
  /// 64 hexadecimal digits.
  package let hexadecimal: String

  package init(_ message: some Collection<UInt8>) {
    var state = SHA256.start
    let whole = message.count / 64 * 64
    let isContiguous: Void? = message.withContiguousStorageIfAvailable {
      SHA256.compress(UnsafeBufferPointer(rebasing: $0[..<whole]), into: &state)
    }
    if isContiguous == nil {
      Array(message.prefix(whole)).withUnsafeBufferPointer { SHA256.compress($0, into: &state) }
    }
    // The rest, a one bit, zeros, and the length in bits, big-endian: up to a whole block.
    var rest = Array(message.dropFirst(whole)) + [0x80]
    rest += [UInt8](repeating: 0, count: (120 - rest.count % 64) % 64)
    rest += withUnsafeBytes(of: (UInt64(message.count) * 8).bigEndian) { Array($0) }
    rest.withUnsafeBufferPointer { SHA256.compress($0, into: &state) }
    prefix = UInt64(state[0]) << 32 | UInt64(state[1])
    hexadecimal = state.map { String($0, digits: 8, radix: 16) }.joined()
  }

  /// Takes in whole blocks of 64 bytes (section 6.2.2).
  private static func compress(_ blocks: UnsafeBufferPointer<UInt8>, into state: inout [UInt32]) {
    withUnsafeTemporaryAllocation(of: UInt32.self, capacity: 64) { w in
      for block in stride(from: 0, to: blocks.count, by: 64) {
        for t in 0..<16 {
          w[t] = (0..<4).reduce(0) { $0 << 8 | UInt32(blocks[block + 4 * t + $1]) }
        }
        for t in 16..<64 {
          let s0 = rotate(w[t - 15], 7) ^ rotate(w[t - 15], 18) ^ w[t - 15] >> 3
          let s1 = rotate(w[t - 2], 17) ^ rotate(w[t - 2], 19) ^ w[t - 2] >> 10
          w[t] = w[t - 16] &+ s0 &+ w[t - 7] &+ s1
        }
        rounds(UnsafeBufferPointer(w), into: &state)
      }
    }
  }

  private static func rounds(_ w: UnsafeBufferPointer<UInt32>, into state: inout [UInt32]) {
    var (a, b, c, d) = (state[0], state[1], state[2], state[3])
    var (e, f, g, h) = (state[4], state[5], state[6], state[7])
    for t in 0..<64 {
      let s1 = rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)
      let t1 = h &+ s1 &+ (e & f ^ ~e & g) &+ constants[t] &+ w[t]
      let s0 = rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)
      let t2 = s0 &+ (a & b ^ a & c ^ b & c)
      (h, g, f, e, d, c, b, a) = (g, f, e, d &+ t1, c, b, a, t1 &+ t2)
    }
    for (index, word) in [a, b, c, d, e, f, g, h].enumerated() { state[index] &+= word }
  }

  private static func rotate(_ word: UInt32, _ count: UInt32) -> UInt32 {
    word >> count | word << (32 - count)
  }

  /// Fractions of the square roots of the first 8 primes (section 5.3.3).
  private static let start = primes.prefix(8).map { fraction($0, cubic: false) }
  /// Fractions of the cube roots of the first 64 primes (section 4.2.2).
  private static let constants = primes.map { fraction($0, cubic: true) }
  private static let primes = (2...311).filter { n in !(2..<n).contains { n.isMultiple(of: $0) } }.map(
    UInt64.init)

  /// The first 32 bits of the fraction of a root of `prime`: the largest r with r² ≤ p·2⁶⁴, or r³ ≤ p·2⁹⁶, modulo 2³².
  private static func fraction(_ prime: UInt64, cubic: Bool) -> UInt32 {
    var root: UInt128 = 0
    for bit in (0..<37).reversed() {
      let next = root | 1 << UInt128(bit)
      let power = cubic ? next * next * next : next * next
      if power <= UInt128(prime) << (cubic ? 96 : 64) { root = next }
    }
    return UInt32(truncatingIfNeeded: root)
  }
}
