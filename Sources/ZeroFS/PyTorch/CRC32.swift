import CZlib

/// The checksum of zip records.
enum CRC32 {
  /// The CRC of extents that are known without reading a source: literals and zeros. `nil` where there is tensor data.
  static func withoutReading(_ extents: [Extent]) -> UInt32? {
    var crc: UInt = 0
    for extent in extents {
      switch extent {
      case .literal(let bytes): crc = bytes.withUnsafeBufferPointer { crc32_z(crc, $0.baseAddress, $0.count) }
      case .zeros(let count): crc = UInt(crc32_combine(crc, zeros(count), count))
      case .tensor: return nil
      }
    }
    return UInt32(truncatingIfNeeded: crc)
  }

  /// The CRC of `count` zero bytes, by doubling.
  private static func zeros(_ count: Int) -> UInt {
    var (total, totalCount): (UInt, Int) = (0, 0)
    var byte: UInt8 = 0
    var (power, powerCount) = (crc32_z(0, &byte, 1), 1)
    while totalCount < count {
      if count & powerCount != 0 {
        total = crc32_combine(total, power, powerCount)
        totalCount += powerCount
      }
      power = crc32_combine(power, power, powerCount)
      powerCount *= 2
    }
    return total
  }
}
