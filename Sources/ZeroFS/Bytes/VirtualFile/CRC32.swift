import CIsal
import CZlib

/// The checksum of zip records and of manifests: CRC-32 as zip, gzip and Python's `zlib.crc32` have it. ISA-L goes through bytes
/// four times as fast as zlib, which alone can join two checksums.
package struct CRC32: Sendable, Equatable {
  package private(set) var value: UInt32 = 0

  package init() {}

  package mutating func append(_ bytes: UnsafeRawBufferPointer) {
    let start = bytes.baseAddress?.assumingMemoryBound(to: UInt8.self)
    value = zerofs_crc32_gzip_refl(value, start, UInt64(bytes.count))
  }

  /// The CRC of `count` bytes that follow.
  package mutating func append(_ other: CRC32, count: Int) {
    value = UInt32(truncatingIfNeeded: crc32_combine(UInt(value), UInt(other.value), count))
  }

  /// `count` zero bytes, by doubling.
  package mutating func append(zeros count: Int) {
    var power = CRC32()
    withUnsafeBytes(of: UInt8(0)) { power.append($0) }
    var powerCount = 1
    while powerCount <= count {
      if count & powerCount != 0 { append(power, count: powerCount) }
      power.append(power, count: powerCount)
      powerCount *= 2
    }
  }

  /// The CRC of extents that are known without reading a source: literals and zeros. `nil` where there is tensor data.
  package static func withoutReading(_ extents: [Extent]) -> UInt32? {
    var crc = CRC32()
    for extent in extents {
      switch extent {
      case .literal(let bytes): bytes.withUnsafeBytes { crc.append($0) }
      case .zeros(let count): crc.append(zeros: count)
      case .tensor, .interleaved, .checksum: return nil
      }
    }
    return crc.value
  }

  /// Eight digits.
  package var hexadecimal: String { String(value, digits: 8, radix: 16) }
}
