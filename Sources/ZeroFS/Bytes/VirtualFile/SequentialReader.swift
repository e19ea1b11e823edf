import SwiftGlibc

/// The bytes of a virtual file from the first to the last, with the checksums that a mount leaves out: what `materialize`
/// writes and `verify` expects. One pass over the sources.
package struct SequentialReader: ~Copyable {
  package enum Part {
    /// Valid until the next call.
    case bytes(UnsafeRawBufferPointer)
    /// A hole: zeros, of a block or more.
    case zeros(count: Int)

    package var count: Int {
      switch self {
      case .bytes(let bytes): bytes.count
      case .zeros(let count): count
      }
    }
  }

  /// Bytes read so far.
  package private(set) var position = 0
  /// The CRC of all of them.
  package private(set) var checksum = CRC32()

  /// Whether the last part was a checksum.
  package private(set) var isAtChecksum = false

  private let file: VirtualFile
  private var cursor: PrefetchCursor
  private let prefetcher: Prefetcher
  private var steps: ArraySlice<Step>
  /// By where it starts, the CRC of each range that a checksum is of, as far as it was read.
  private var partial: [Int: CRC32] = [:]
  private var gather = Gather(capacity: windowCount)
  /// Pieces of the window in `gather` that were handed out.
  private var taken = 0
  private let field = UnsafeMutableRawBufferPointer.allocate(byteCount: 4, alignment: 4)

  /// Bytes of a window: they are still in the cache when the consumer looks at them.
  private static let windowCount = 256 << 10

  /// A part of the file in which all bytes are of one kind.
  private struct Step {
    enum Kind {
      case data
      case hole
      case checksum(of: Range<Int>)
    }
    let end: Int
    let kind: Kind
    /// Where the range starts that a later checksum is of, if the step is within one.
    let covered: Int?
  }

  /// - Parameter prefetcher: that of all readers of a program.
  package init(_ file: VirtualFile, _ prefetcher: Prefetcher = .shared) {
    (self.file, self.prefetcher) = (file, prefetcher)
    cursor = PrefetchCursor(file)
    steps = SequentialReader.steps(of: file)[...]
  }

  deinit { field.deallocate() }

  /// What comes next; `nil` at the end of the file.
  package mutating func next() throws(ReadError) -> Part? {
    while let step = steps.first {
      if taken < gather.pieces.count {
        let piece = gather.pieces[taken]
        taken += 1
        let bytes = UnsafeRawBufferPointer(start: piece.iov_base, count: piece.iov_len)
        var crc = CRC32()
        crc.append(bytes)
        return advance(.bytes(bytes), crc, step)
      }
      guard position < step.end else {
        steps.removeFirst()
        continue
      }
      switch step.kind {
      case .data:
        taken = 0
        let end = min(step.end, position + SequentialReader.windowCount)
        let waits = BlockedThread.count
        let isCold = cursor.advance(to: position, prefetcher)
        try file.read(position..<end, into: &gather, verbatim: .copied)
        if !isCold && BlockedThread.count != waits {
          prefetcher.noteWait(for: file.sourceRanges(of: position..<end))
        }
      case .hole:
        var crc = CRC32()
        crc.append(zeros: step.end - position)
        return advance(.zeros(count: step.end - position), crc, step)
      case .checksum(let range):
        field.copyBytes(from: (partial[range.lowerBound] ?? CRC32()).value.littleEndianBytes)
        var crc = CRC32()
        crc.append(UnsafeRawBufferPointer(field))
        return advance(.bytes(UnsafeRawBufferPointer(field)), crc, step)
      }
    }
    return nil
  }

  private mutating func advance(_ part: Part, _ crc: CRC32, _ step: Step) -> Part {
    position += part.count
    isAtChecksum = if case .checksum = step.kind { true } else { false }
    checksum.append(crc, count: part.count)
    if let start = step.covered { partial[start, default: CRC32()].append(crc, count: part.count) }
    return part
  }

  private static func steps(of file: VirtualFile) -> [Step] {
    var kinds: [Int: Step.Kind] = [:]
    var covered: [Int: Int] = [:]
    var cuts: Set<Int> = [0, file.count]
    var start = 0
    for extent in file.extents {
      let end = start + extent.count
      if case .checksum(let range) = extent {
        precondition(range.upperBound <= start, "a checksum in front of what it is of")
        kinds[start] = .checksum(of: range)
        covered[range.lowerBound] = range.upperBound
        cuts.formUnion([start, end, range.lowerBound, range.upperBound])
      } else if extent.isHole {
        kinds[start] = .hole
        cuts.formUnion([start, end])
      }
      start = end
    }
    let places = cuts.sorted()
    var current: (start: Int, end: Int)?
    return zip(places, places.dropFirst()).map { start, end in
      if let known = current, known.end <= start { current = nil }
      if let until = covered[start], until > start { current = (start, until) }
      return Step(end: end, kind: kinds[start] ?? .data, covered: current?.start)
    }
  }
}
