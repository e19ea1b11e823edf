/// Elements of `width` bytes as planes: all first bytes, then all second bytes, and so on. The exponents of neighbouring
/// weights are alike and their low mantissa bits are noise; apart, each compresses as it can.
enum BytePlanes {
  /// The planes of `elements`, as long as they are.
  ///
  /// - Parameter width: bytes of an element. `elements` are whole ones, little-endian: the first plane has the low bytes.
  static func split(_ elements: [UInt8], width: Int) -> [UInt8] {
    guard width == 2 else { return transpose(elements, rows: elements.count / width, cols: width) }
    let count = elements.count / 2
    return made(elements) { source, target in
      // Whole elements, and pointers where indices would be checked for overflow, so that it is vector code.
      let elements = source.assumingMemoryBound(to: UInt16.self)
      let high = target + count
      for i in 0..<count {
        let element = UInt16(littleEndian: elements[i])
        target[i] = UInt8(truncatingIfNeeded: element)
        high[i] = UInt8(truncatingIfNeeded: element >> 8)
      }
    }
  }

  /// The elements whose planes these are: the inverse of `split`.
  static func join(_ planes: [UInt8], width: Int) -> [UInt8] {
    guard width == 2 else { return transpose(planes, rows: width, cols: planes.count / width) }
    let count = planes.count / 2
    return made(planes) { source, target in
      let low = source.assumingMemoryBound(to: UInt8.self)
      let high = low + count
      let elements = UnsafeMutableRawPointer(target).assumingMemoryBound(to: UInt16.self)
      for i in 0..<count { elements[i] = (UInt16(low[i]) | UInt16(high[i]) << 8).littleEndian }
    }
  }

  /// `[rows, cols]` → `[cols, rows]`.
  private static func transpose(_ bytes: [UInt8], rows: Int, cols: Int) -> [UInt8] {
    if rows <= 1 || cols <= 1 { return bytes }
    return made(bytes) { source, target in
      let bytes = source.assumingMemoryBound(to: UInt8.self)
      for row in 0..<rows { for col in 0..<cols { target[col * rows + row] = bytes[row * cols + col] } }
    }
  }

  /// As many bytes as there are in `bytes`, which `body` fills; both start where an allocation does.
  private static func made(
    _ bytes: [UInt8], _ body: (_ source: UnsafeRawPointer, _ target: UnsafeMutablePointer<UInt8>) -> Void
  ) -> [UInt8] {
    [UInt8](unsafeUninitializedCapacity: bytes.count) { target, count in
      bytes.withUnsafeBytes { source in
        if let source = source.baseAddress, let target = target.baseAddress { body(source, target) }
      }
      count = bytes.count
    }
  }
}
