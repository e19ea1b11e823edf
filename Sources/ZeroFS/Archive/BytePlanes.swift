/// Elements of `width` bytes as planes: all first bytes, then all second bytes, and so on. The exponents of neighbouring
/// weights are alike and their low mantissa bits are noise; apart, each compresses as it can.
enum BytePlanes {
  static func split(_ elements: [UInt8], width: Int) -> [UInt8] {
    transpose(elements, rows: elements.count / width, cols: width)
  }

  static func join(_ planes: [UInt8], width: Int) -> [UInt8] {
    transpose(planes, rows: width, cols: planes.count / width)
  }

  /// `[rows, cols]` → `[cols, rows]`.
  private static func transpose(_ bytes: [UInt8], rows: Int, cols: Int) -> [UInt8] {
    precondition(rows * cols == bytes.count)
    if rows <= 1 || cols <= 1 { return bytes }
    return [UInt8](unsafeUninitializedCapacity: bytes.count) { target, count in
      bytes.withUnsafeBufferPointer { source in
        // The short side innermost and fixed, so that both are vector code.
        switch (rows, cols) {
        case (_, 2):
          for i in 0..<rows {
            target[i] = source[2 * i]
            target[rows + i] = source[2 * i + 1]
          }
        case (2, _):
          for i in 0..<cols {
            target[2 * i] = source[i]
            target[2 * i + 1] = source[cols + i]
          }
        default:
          for row in 0..<rows { for col in 0..<cols { target[col * rows + row] = source[row * cols + col] } }
        }
      }
      count = bytes.count
    }
  }
}
