import Glibc

/// The bytes of one window, as pieces for `writev`: verbatim runs straight from the mapping of their source, zeros from
/// shared memory, the rest from a buffer. Reusable; one at a time uses it.
package struct Gather: ~Copyable {
  /// What becomes of verbatim runs.
  package enum VerbatimRuns: Sendable {
    /// Long ones stay in the mapping of their source, for nobody but the kernel to copy, by `writev`.
    case mapped
    /// They are read into the buffer: for this program, which a source that is truncated meanwhile must not fault, and for
    /// windows whose sources are to be read now and not when they are sent.
    case copied
  }

  /// In order; valid until the next `reset`.
  package private(set) var pieces: [iovec] = []
  private var verbatim = VerbatimRuns.copied
  private let buffer: UnsafeMutableRawBufferPointer
  private var used = 0
  /// Bytes of the window that the pieces hold so far.
  private var filled = 0
  let staging: UnsafeMutableRawBufferPointer
  private(set) var sources: [any ByteSource] = []

  /// - Parameter capacity: the longest window, in bytes.
  package init(capacity: Int) {
    // A page of room for each long run to be moved by.
    let room = (capacity / Gather.minMoved + 1) * Gather.page
    buffer = .allocate(byteCount: capacity + 2 * Gather.maxElement + room, alignment: Gather.page)
    staging = .allocate(byteCount: 2 * Gather.stagingCount + Gather.page, alignment: Gather.page)
  }

  deinit {
    buffer.deallocate()
    staging.deallocate()
  }

  /// Whether most of the window was copied or computed into the buffer, and not left to the kernel to copy.
  package var isMostlyBuffered: Bool { used > filled / 2 }

  package var count: Int { pieces.reduce(0) { $0 + $1.iov_len } }

  /// Calls `body` with each piece.
  package func forEachPiece<E: Error>(_ body: (UnsafeRawBufferPointer) throws(E) -> Void) throws(E) {
    for piece in pieces { try body(UnsafeRawBufferPointer(start: piece.iov_base, count: piece.iov_len)) }
  }

  mutating func reset(_ verbatim: VerbatimRuns) {
    self.verbatim = verbatim
    pieces.removeAll(keepingCapacity: true)
    sources.removeAll(keepingCapacity: true)
    used = 0
    filled = 0
  }

  mutating func append(_ extent: Extent, bytes: Range<Int>) throws(ReadError) {
    switch extent {
    case .literal(let literal):
      literal.withUnsafeBytes {
        take(bytes.count).copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[bytes]))
      }
    case .zeros, .checksum:
      appendZeros(bytes.count)
    case .tensor(let run): try append(run, bytes)
    case .interleaved(let interleaved): try append(interleaved, bytes)
    }
  }

  mutating func append(_ run: TensorRun, _ bytes: Range<Int>) throws(ReadError) {
    note(run.source)
    if run.elementStride != 1 {
      try appendStrided(run, bytes)
    } else if run.cast.isVerbatim {
      try appendVerbatim(run, bytes)
    } else {
      try appendCast(run, bytes)
    }
  }

  /// Has `source` checked behind the window.
  mutating func note(_ source: any ByteSource) {
    if !sources.contains(where: { $0 === source }) { sources.append(source) }
  }

  /// Copies all pieces, one behind the other.
  func copyPieces(to buffer: UnsafeMutableRawBufferPointer) {
    var position = 0
    forEachPiece { piece in
      UnsafeMutableRawBufferPointer(rebasing: buffer[position..<(position + piece.count)]).copyMemory(
        from: piece)
      position += piece.count
    }
  }

  package func verifySources() throws(ReadError) {
    for source in sources { try source.verify() }
  }

  /// Of the sources that the window has bytes of.
  package var sourceNames: [String] { sources.map(\.name) }

  // MARK: pieces

  /// Bytes; a window may start and end inside an element that is computed whole.
  static let maxElement = 8

  /// Zeros that every window shares. Written once: the kernel's own zero page, which backs memory that never was, can't be
  /// pinned by its fast path (`mm/gup.c`: gup_fast_pte_range leaves out special entries), and a reply takes half as long again.
  private static let zeros: Int = {
    let pointer = mmap(nil, zerosCount, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    guard let pointer, pointer != MAP_FAILED else { preconditionFailure("no memory") }
    memset(pointer, 0, zerosCount)
    mprotect(pointer, zerosCount, PROT_READ)
    return Int(bitPattern: pointer)
  }()
  /// Small enough to stay in the cache.
  private static let zerosCount = 64 << 10

  /// `writev` takes at most IOV_MAX (1024) pieces; the rest of a window of short runs is copied.
  private static let maxPieces = 1000
  /// Shorter runs are cheaper to copy than to pin.
  private static let minMapped = 1024

  static let page = 4096
  /// Bytes that a cast reads at a time: they are still in the cache when it widens them.
  static let stagingCount = 64 << 10
  /// Shorter runs stay where they are, aliased or not.
  private static let minMoved = 64 << 10

  /// Whether a copy to address `target` from `source` is slow: where it writes just ahead, by the low 12 bits of the
  /// addresses, of what it reads next, x86 takes each load for one of the bytes just stored (AMD "Software Optimization
  /// Guide", store-to-load forwarding: "4 KB aliasing"). It then takes three to four times as long, in the kernel too.
  private static func aliases(_ target: Int, _ source: Int) -> Bool {
    (1..<32).contains((target - source) & (page - 1))
  }

  mutating func appendZeros(_ count: Int) {
    if pieces.count >= Gather.maxPieces {
      _ = take(count).initializeMemory(as: UInt8.self, repeating: 0)
      return
    }
    var left = count
    while left > 0 {
      let part = min(left, Gather.zerosCount)
      pieces.append(iovec(iov_base: UnsafeMutableRawPointer(bitPattern: Gather.zeros), iov_len: part))
      left -= part
    }
    filled += count
  }

  /// The next `count` bytes of the buffer.
  mutating func reserve(_ count: Int) -> UnsafeMutableRawBufferPointer {
    precondition(used + count <= buffer.count, "a window longer than the capacity")
    defer { used += count }
    return UnsafeMutableRawBufferPointer(rebasing: buffer[used..<(used + count)])
  }

  /// Makes `part` of the buffer the next piece, or the end of the last one where they touch.
  mutating func append(_ part: UnsafeMutableRawBufferPointer) {
    filled += part.count
    if let last = pieces.last, last.iov_base + last.iov_len == part.baseAddress {
      pieces[pieces.count - 1].iov_len += part.count
    } else if part.count > 0 {
      pieces.append(iovec(iov_base: part.baseAddress, iov_len: part.count))
    }
  }

  private mutating func take(_ count: Int) -> UnsafeMutableRawBufferPointer {
    let part = reserve(count)
    append(part)
    return part
  }

  /// `take` for bytes that come from `offset` of a source. The reader's memory is taken to start on a page.
  private mutating func take(_ count: Int, from offset: Int) -> UnsafeMutableRawBufferPointer {
    if count >= Gather.minMoved, Gather.aliases(used, offset) || Gather.aliases(filled, used) {
      used += (offset + Gather.page / 2 - used) & (Gather.page - 1)
    }
    return take(count)
  }

  /// Calls `body` with each gapless part of `elements` of the run, as a byte offset in the source and a count of elements.
  private static func forEachRow(
    of run: TensorRun, elements: Range<Int>, _ body: (_ offset: Int, _ count: Int) throws(ReadError) -> Void
  ) throws(ReadError) {
    let size = run.cast.source.size
    var element = run.window.lowerBound + elements.lowerBound
    let end = run.window.lowerBound + elements.upperBound
    while element < end {
      let (row, column) = element.quotientAndRemainder(dividingBy: run.rowElements)
      let count = min(run.rowElements - column, end - element)
      try body(run.offset + (row * run.rowStride + column) * size, count)
      element += count
    }
  }

  private mutating func appendVerbatim(_ run: TensorRun, _ bytes: Range<Int>) throws(ReadError) {
    // Byte granular: a window may end inside an element.
    let size = run.cast.source.size
    let elements = (bytes.lowerBound / size)..<((bytes.upperBound + size - 1) / size)
    let mapping = verbatim == .mapped ? run.source.mapping : nil
    var skip = bytes.lowerBound - elements.lowerBound * size
    var left = bytes.count
    try Gather.forEachRow(of: run, elements: elements) { (offset, count) throws(ReadError) in
      let length = min(count * size - skip, left)
      let start = offset + skip
      let isSlow = length >= Gather.minMoved && Gather.aliases(filled, start)
      if let mapping, length >= Gather.minMapped, pieces.count < Gather.maxPieces, !isSlow {
        guard start + length <= mapping.count else {
          throw .endOfFile(path: run.source.name, offset: start + length)
        }
        let base = UnsafeMutableRawPointer(mutating: mapping.baseAddress! + start)
        pieces.append(iovec(iov_base: base, iov_len: length))
        filled += length
      } else {
        try run.source.read(at: start, into: take(length, from: start))
      }
      skip = 0
      left -= length
    }
  }

  private mutating func appendCast(_ run: TensorRun, _ bytes: Range<Int>) throws(ReadError) {
    let (from, to) = (run.cast.source.size, run.cast.target.size)
    // Whole elements are cast; where the window starts or ends inside one, the piece is trimmed.
    let elements = (bytes.lowerBound / to)..<((bytes.upperBound + to - 1) / to)
    let output = reserve(elements.count * to)
    var written = 0
    try Gather.forEachRow(of: run, elements: elements) { (offset, count) throws(ReadError) in
      var done = 0
      while done < count {
        let part = min(count - done, Gather.stagingCount / from)
        let start = offset + done * from
        // At the same place within a page as in the source, so that the two don't alias.
        let place = start & (Gather.page - 64)
        let input = UnsafeMutableRawBufferPointer(rebasing: staging[place..<(place + part * from)])
        try run.source.read(at: start, into: input)
        CastKernel.apply(
          run.cast, from: UnsafeRawBufferPointer(input),
          to: UnsafeMutableRawBufferPointer(rebasing: output[written..<(written + part * to)]))
        done += part
        written += part * to
      }
    }
    let first = elements.lowerBound * to
    append(
      UnsafeMutableRawBufferPointer(rebasing: output[(bytes.lowerBound - first)..<(bytes.upperBound - first)])
    )
  }
}
