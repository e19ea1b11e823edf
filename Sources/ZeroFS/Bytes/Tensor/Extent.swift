/// A run of elements in the normal form of a lazy tensor; counts are elements.
package enum ElementExtent: Sendable {
  case zeros(Int)
  case run(TensorRun)
  case interleaved(Interleaved)

  var count: Int {
    switch self {
    case .zeros(let count): count
    case .run(let run): run.window.count
    case .interleaved(let interleaved): interleaved.window.count
    }
  }

  func slice(_ range: Range<Int>) -> [ElementExtent] {
    switch self {
    case .zeros: [.zeros(range.count)]
    case .run(let run): [.run(run.slice(range))]
    case .interleaved(let interleaved): interleaved.slice(range)
    }
  }

  /// As bytes of `dtype`, which is that of the elements.
  func bytes(_ dtype: DType) -> Extent {
    switch self {
    case .zeros(let count): .zeros(count: count * dtype.size)
    case .run(let run): .tensor(run)
    case .interleaved(let interleaved): .interleaved(interleaved)
    }
  }

  /// Calls `body` with each run of the extent, in it or in a child of it.
  func forEachRun(_ body: (TensorRun) -> Void) {
    switch self {
    case .zeros: break
    case .run(let run): body(run)
    case .interleaved(let interleaved):
      for child in interleaved.children { for element in child.elements { element.forEachRun(body) } }
    }
  }
}

extension [ElementExtent] {
  /// The elements `range`.
  func sliced(_ range: Range<Int>) -> [ElementExtent] {
    var result: [ElementExtent] = []
    if range.isEmpty { return result }
    var start = 0
    for extent in self {
      if start >= range.upperBound { break }
      let end = start + extent.count
      if end > range.lowerBound {
        if range.lowerBound <= start && end <= range.upperBound {
          result.append(extent)
        } else {
          result += extent.slice(
            (Swift.max(range.lowerBound, start) - start)..<(Swift.min(range.upperBound, end) - start))
        }
      }
      start = end
    }
    return result
  }

  /// Appends `extent`, or makes the last extent longer by it.
  mutating func join(_ extent: ElementExtent) {
    switch (last, extent) {
    case (.zeros(let count)?, .zeros(let more)): self[self.count - 1] = .zeros(count + more)
    case (.run(let run)?, .run(let next)):
      guard let joined = run.joined(next) else { fallthrough }
      self[self.count - 1] = .run(joined)
    default: append(extent)
    }
  }

  mutating func join(_ extents: [ElementExtent]) { for extent in extents { join(extent) } }
}

/// A run of bytes of a virtual file.
package enum Extent: Sendable {
  case literal([UInt8])
  case zeros(count: Int)
  case tensor(TensorRun)
  /// Runs and zeros side by side, row by row.
  case interleaved(Interleaved)
  /// Four bytes, little-endian: the CRC-32 of the `of` bytes of the same file, which stand before it. Known only to who has read
  /// these (`SequentialReader`); a window has zeros there.
  case checksum(of: Range<Int>)

  /// Bytes.
  package var count: Int {
    switch self {
    case .literal(let bytes): bytes.count
    case .checksum: 4
    case .zeros(let count): count
    case .tensor(let run): run.window.count * run.cast.target.size
    case .interleaved(let interleaved): interleaved.window.count * interleaved.dtype.size
    }
  }

  /// The runs that its bytes come from, wherever in it.
  package var runs: [TensorRun] {
    var runs: [TensorRun] = []
    switch self {
    case .literal, .zeros, .checksum: break
    case .tensor(let run): runs = [run]
    case .interleaved(let interleaved): ElementExtent.interleaved(interleaved).forEachRun { runs.append($0) }
    }
    return runs
  }
}
