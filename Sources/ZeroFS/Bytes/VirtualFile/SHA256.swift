/// SHA-256 (FIPS 180-4), for fingerprints that `sha256sum` can check. Some kilobytes are hashed now and then: not worth a
/// library.
package struct SHA256 {
  /// The first eight bytes, big-endian.
  package let prefix: UInt64
  /// 64 hexadecimal digits.
  package let hexadecimal: String

  package init(_ message: some Collection<UInt8>) {
    var padded = Array(message)
    let bits = UInt64(padded.count) * 8
    padded.append(0x80)
    padded += [UInt8](repeating: 0, count: (120 - padded.count % 64) % 64)
    padded += (0..<8).map { UInt8(truncatingIfNeeded: bits >> (56 - 8 * UInt64($0))) }
    var state = SHA256.start
    for block in stride(from: 0, to: padded.count, by: 64) {
      SHA256.compress(padded[block..<(block + 64)], into: &state)
    }
    prefix = UInt64(state[0]) << 32 | UInt64(state[1])
    hexadecimal = state.map { word in
      let digits = String(word, radix: 16)
      return String(repeating: "0", count: 8 - digits.count) + digits
    }.joined()
  }

  private static func compress(_ block: ArraySlice<UInt8>, into state: inout [UInt32]) {
    var w = [UInt32](repeating: 0, count: 64)
    for (index, byte) in block.enumerated() { w[index / 4] = w[index / 4] << 8 | UInt32(byte) }
    for t in 16..<64 {
      let s0 = rotate(w[t - 15], 7) ^ rotate(w[t - 15], 18) ^ w[t - 15] >> 3
      let s1 = rotate(w[t - 2], 17) ^ rotate(w[t - 2], 19) ^ w[t - 2] >> 10
      w[t] = w[t - 16] &+ s0 &+ w[t - 7] &+ s1
    }
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
