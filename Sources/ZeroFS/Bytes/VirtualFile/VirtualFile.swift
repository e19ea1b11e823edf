/// A file that exists as extents: what it holds is computed for the window that is asked for.
package struct VirtualFile: Sendable {
  package let extents: [Extent]
  /// Where each extent starts, in bytes.
  private let starts: [Int]
  /// Bytes.
  package let count: Int

  package init(_ extents: [Extent]) {
    self.extents = extents.filter { $0.count > 0 }
    var starts: [Int] = []
    starts.reserveCapacity(self.extents.count)
    var end = 0
    for extent in self.extents {
      starts.append(end)
      end += extent.count
    }
    self.starts = starts
    count = end
  }

  package init(_ text: String) { self.init([.literal(Array(text.utf8))]) }

  /// Collects the bytes of `window` (cut at the end of the file) into `gather`, and checks the sources behind that.
  ///
  /// - Parameter verbatim: whether this program may touch the pieces (`copied`), or nobody but the kernel.
  /// - Throws: `ReadError` when a source can't be read or is no longer what it was.
  package func read(_ window: Range<Int>, into gather: inout Gather, verbatim: Gather.VerbatimRuns)
    throws(ReadError)
  {
    gather.reset(verbatim)
    try append(window, to: &gather)
    try gather.verifySources()
  }

  private func append(_ window: Range<Int>, to gather: inout Gather) throws(ReadError) {
    try forEachExtent(in: window) { (extent, bytes) throws(ReadError) in
      try gather.append(extent, bytes: bytes)
    }
  }

  /// Calls `body` with what `window` (cut at the end of the file) has of each extent.
  func forEachExtent<E: Error>(in window: Range<Int>, _ body: (Extent, Range<Int>) throws(E) -> Void)
    throws(E)
  {
    let window = window.clamped(to: 0..<count)
    var index = extentIndex(at: window.lowerBound)
    var position = window.lowerBound
    while position < window.upperBound {
      let extent = extents[index]
      let start = starts[index]
      let end = min(start + extent.count, window.upperBound)
      try body(extent, (position - start)..<(end - start))
      position = end
      index += 1
    }
  }

  /// Fills `buffer` with the bytes of `window`, which lies within the file. The sources aren't checked.
  func copy(_ window: Range<Int>, into buffer: UnsafeMutableRawBufferPointer) throws(ReadError) {
    var gather = Gather(capacity: window.count)
    try append(window, to: &gather)
    gather.copyPieces(to: buffer)
  }

  /// The bytes of `window`, of the whole file without one: for what isn't long.
  ///
  /// - Throws: as `read`.
  package func bytes(_ window: Range<Int>? = nil, verbatim: Gather.VerbatimRuns = .copied) throws(ReadError)
    -> [UInt8]
  {
    let window = window ?? 0..<count
    var gather = Gather(capacity: max(window.count, 1))
    try read(window, into: &gather, verbatim: verbatim)
    var bytes: [UInt8] = []
    bytes.reserveCapacity(window.count)
    gather.forEachPiece { bytes += $0 }
    return bytes
  }

  /// `lseek(offset, SEEK_DATA or SEEK_HOLE)`: the next byte from `offset` on that is in data, or in a hole. Zero runs are
  /// holes, and the end of the file is one. `nil`: ENXIO.
  package func seek(_ offset: Int, toHole: Bool) -> Int? {
    guard offset >= 0 && offset < count else { return nil }
    var index = extentIndex(at: offset)
    var position = offset
    while index < extents.count {
      if extents[index].isHole == toHole { return position }
      index += 1
      position = index < starts.count ? starts[index] : count
    }
    return toHole ? count : nil
  }

  /// The parts of `range` that come from sources.
  package func tensorRanges(in range: Range<Int>) -> [Range<Int>] {
    var ranges: [Range<Int>] = []
    var index = extentIndex(at: range.lowerBound)
    while index < extents.count, starts[index] < range.upperBound {
      let part = (starts[index]..<(starts[index] + extents[index].count)).clamped(to: range)
      let own = (part.lowerBound - starts[index])..<(part.upperBound - starts[index])
      switch extents[index] {
      case .literal, .zeros, .checksum: break
      case .tensor: ranges.join(part)
      case .interleaved(let interleaved):
        interleaved.appendDataRanges(of: own, at: part.lowerBound, to: &ranges)
      }
      index += 1
    }
    return ranges
  }

  /// Whether all of `range` is zeros that come from no source.
  package func isZeros(in range: Range<Int>) -> Bool {
    var index = extentIndex(at: range.lowerBound)
    while index < extents.count, starts[index] < range.upperBound {
      guard case .zeros = extents[index] else { return false }
      index += 1
    }
    return true
  }

  /// Bytes that are not in holes.
  package var dataBytes: Int {
    extents.reduce(0) { $0 + ($1.isHole ? 0 : $1.count) }
  }

  /// The index of the extent that holds byte `offset`.
  private func extentIndex(at offset: Int) -> Int {
    max(starts.partitionIndex { $0 > offset } - 1, 0)
  }
}

extension Extent {
  /// Runs of zeros shorter than a block are not worth a hole.
  package var isHole: Bool {
    if case .zeros(let count) = self { count >= 4096 } else { false }
  }
}

extension [Range<Int>] {
  /// Appends `range`, or makes the last one longer by it.
  mutating func join(_ range: Range<Int>) {
    if let last, last.upperBound == range.lowerBound {
      self[count - 1] = last.lowerBound..<range.upperBound
    } else if !range.isEmpty {
      append(range)
    }
  }
}

extension Interleaved {
  /// Appends what isn't zeros in the bytes `range`, which stand at `start` in the file.
  fileprivate func appendDataRanges(of range: Range<Int>, at start: Int, to ranges: inout [Range<Int>]) {
    if !hasZeros { return ranges.join(start..<(start + range.count)) }
    var position = start
    forEachPiece(of: range, unit: dtype.size) { child, part in
      child.forEachExtent(in: part, unit: dtype.size) { extent, own in
        switch extent {
        case .zeros: break
        case .run: ranges.join(position..<(position + own.count))
        case .interleaved(let nested): nested.appendDataRanges(of: own, at: position, to: &ranges)
        }
        position += own.count
      }
    }
  }

  private var hasZeros: Bool {
    children.contains {
      $0.elements.contains { extent in
        switch extent {
        case .zeros: true
        case .run: false
        case .interleaved(let nested): nested.hasZeros
        }
      }
    }
  }
}
