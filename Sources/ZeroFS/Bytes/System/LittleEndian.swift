/// Numbers as zip files and seek tables hold them. Inlinable, for a plan writes millions of them from another module.
package struct LittleEndianBytes {
  package var bytes: [UInt8] = []

  package init() {}

  @inlinable
  package mutating func append<T: FixedWidthInteger>(_ value: T) {
    withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
  }

  @inlinable
  package mutating func append(contentsOf more: some Sequence<UInt8>) { bytes.append(contentsOf: more) }
}

extension FixedWidthInteger {
  @inlinable
  package var littleEndianBytes: [UInt8] { withUnsafeBytes(of: littleEndian) { Array($0) } }
}
