/// Numbers as zip files and seek tables hold them. Not generic: a plan writes millions of them from another module.
package struct LittleEndianBytes {
  package private(set) var bytes: [UInt8] = []

  package init() {}

  package mutating func append(_ value: UInt8) { bytes.append(value) }
  package mutating func append(_ value: UInt16) { append(UInt64(value), bytes: 2) }
  package mutating func append(_ value: UInt32) { append(UInt64(value), bytes: 4) }
  package mutating func append(_ value: UInt64) { append(value, bytes: 8) }

  private mutating func append(_ value: UInt64, bytes count: Int) {
    for byte in 0..<count { bytes.append(UInt8(truncatingIfNeeded: value >> (8 * byte))) }
  }

  package mutating func append(contentsOf more: [UInt8]) { bytes += more }
  package mutating func append(_ text: String) { bytes.append(contentsOf: text.utf8) }
}

extension FixedWidthInteger {
  package var littleEndianBytes: [UInt8] { withUnsafeBytes(of: littleEndian) { Array($0) } }
}
