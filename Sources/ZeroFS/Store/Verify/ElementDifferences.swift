import Bytes

/// Elements in which two equally long runs of bytes differ.
struct ElementDifferences {
  private(set) var count = 0
  private(set) var first: (index: Int, expected: [UInt8], actual: [UInt8])?
  let total: Int

  private static let windowCount = 1 << 20

  /// - Parameters:
  ///   - expected, actual: whole elements.
  ///   - ranges: the bytes that count; `nil` for all.
  ///   - firstElement: what the runs start with, of a tensor.
  /// - Throws: `ReadError` of either.
  init(
    _ expected: VirtualFile, _ actual: VirtualFile, in ranges: [Range<Int>]? = nil, elementBytes: Int,
    firstElement: Int = 0
  ) throws(ReadError) {
    precondition(expected.count == actual.count && Self.windowCount.isMultiple(of: elementBytes))
    let ranges = ranges ?? [0..<expected.count]
    total = ranges.reduce(0) { $0 + $1.count } / elementBytes
    for range in ranges {
      for start in stride(from: range.lowerBound, to: range.upperBound, by: Self.windowCount) {
        let window = start..<min(start + Self.windowCount, range.upperBound)
        let (wanted, found) = (try expected.bytes(window), try actual.bytes(window))
        if wanted != found { compare(wanted, found, elementBytes, firstElement + start / elementBytes) }
      }
    }
  }

  private mutating func compare(_ wanted: [UInt8], _ found: [UInt8], _ elementBytes: Int, _ firstElement: Int)
  {
    for offset in stride(from: 0, to: wanted.count, by: elementBytes) {
      let element = offset..<(offset + elementBytes)
      if wanted[element] == found[element] { continue }
      count += 1
      if first == nil {
        first = (firstElement + offset / elementBytes, Array(wanted[element]), Array(found[element]))
      }
    }
  }

  /// `nil` where nothing differs.
  func text(shape: [Int]) -> String? {
    guard let first else { return nil }
    var index: [Int] = []
    var rest = first.index
    for size in shape.reversed() {
      index.insert(rest % size, at: 0)
      rest /= size
    }
    func hexadecimal(_ bytes: [UInt8]) -> String {
      "0x" + bytes.reversed().map { String($0, digits: 2, radix: 16) }.joined()
    }
    return
      "\(count) of \(total) elements differ\(count == 1 ? "s" : ""), \(count == 1 ? "" : "first ")\(index): "
      + "\(hexadecimal(first.actual)) instead of \(hexadecimal(first.expected))"
  }
}
