/// Elements that don't stand side by side in their source.
extension Gather {
  /// Elements that are further apart, in bytes, are read one by one: what is between them costs more than a call.
  private static let maxGap = 1024

  /// Rows shorter than this, in bytes, are read many at a time.
  private static let minRow = 256
  /// Bytes of the rows that are read at a time and dealt out in memory.
  private static let maxBlock = 1 << 20

  // MARK: strided runs

  /// A transposed run has its rows' elements far apart, but elements of its columns side by side: of each column one read
  /// takes what the window has of it.
  mutating func appendStrided(_ run: TensorRun, _ bytes: Range<Int>) throws(ReadError) {
    let to = run.cast.target.size
    // Whole elements are read; where the window starts or ends inside one, the piece is trimmed.
    let elements = (bytes.lowerBound / to)..<((bytes.upperBound + to - 1) / to)
    let output = reserve(elements.count * to)
    let lower = run.window.lowerBound + elements.lowerBound
    let upper = run.window.lowerBound + elements.upperBound
    let cols = run.rowElements
    let rows = (lower / cols)..<((upper - 1) / cols + 1)
    if rows.count > 1 && run.rowStride > 0 && (run.elementStride == 0 || run.rowStride < run.elementStride) {
      for column in 0..<cols {
        // The first row's and the last row's element may be outside of the window.
        let first = rows.lowerBound * cols + column < lower ? rows.lowerBound + 1 : rows.lowerBound
        let end = (rows.upperBound - 1) * cols + column < upper ? rows.upperBound : rows.upperBound - 1
        if first < end {
          try readLine(
            run, row: first, column: column, count: end - first, step: run.rowStride, into: output,
            at: first * cols + column - lower, distance: cols)
        }
      }
    } else {
      for row in rows {
        let columns = (row * cols)..<((row + 1) * cols)
        let part = columns.clamped(to: lower..<upper)
        try readLine(
          run, row: row, column: part.lowerBound - row * cols, count: part.count, step: run.elementStride,
          into: output, at: part.lowerBound - lower, distance: 1)
      }
    }
    let first = elements.lowerBound * to
    append(
      UnsafeMutableRawBufferPointer(rebasing: output[(bytes.lowerBound - first)..<(bytes.upperBound - first)])
    )
  }

  /// Reads `count` elements from (`row`, `column`) on that are `step` apart in the source, and puts them into `output` from
  /// element `index` on, `distance` apart.
  private func readLine(
    _ run: TensorRun, row: Int, column: Int, count: Int, step: Int,
    into output: UnsafeMutableRawBufferPointer, at index: Int, distance: Int
  ) throws(ReadError) {
    let (from, to) = (run.cast.source.size, run.cast.target.size)
    let start = run.offset + (row * run.rowStride + column * run.elementStride) * from
    // So many elements, with those between them, fit in one half of the staging memory, cast in the other.
    let limit =
      step * from > Gather.maxGap ? 1 : Gather.stagingCount / Swift.max(step * from, Gather.maxElement)
    let half = Gather.stagingCount
    var done = 0
    while done < count {
      let part = min(count - done, limit)
      let read = UnsafeMutableRawBufferPointer(rebasing: staging[..<(((part - 1) * step + 1) * from)])
      try run.source.read(at: start + done * step * from, into: read)
      if step != 1 { Gather.move(from, staging, by: step, to: staging, by: 1, count: part) }
      var line = UnsafeRawBufferPointer(rebasing: staging[..<(part * from)])
      if !run.cast.isVerbatim {
        let cast = UnsafeMutableRawBufferPointer(rebasing: staging[half..<(half + part * to)])
        CastKernel.apply(run.cast, from: line, to: cast)
        line = UnsafeRawBufferPointer(cast)
      }
      let target = UnsafeMutableRawBufferPointer(rebasing: output[((index + done * distance) * to)...])
      Gather.move(
        to, UnsafeMutableRawBufferPointer(mutating: line), by: 1, to: target, by: distance, count: part)
      done += part
    }
  }

  /// Copies `count` elements of `size` bytes, in order.
  private static func move(
    _ size: Int, _ source: UnsafeMutableRawBufferPointer, by step: Int,
    to target: UnsafeMutableRawBufferPointer, by distance: Int, count: Int
  ) {
    guard let source = source.baseAddress, let target = target.baseAddress else { return }
    switch size {
    case 1: move(UInt8.self, source, step, target, distance, count)
    case 2: move(UInt16.self, source, step, target, distance, count)
    case 4: move(UInt32.self, source, step, target, distance, count)
    default: move(UInt64.self, source, step, target, distance, count)
    }
  }

  @inline(__always)
  private static func move<T: BitwiseCopyable>(
    _ type: T.Type, _ source: UnsafeMutableRawPointer, _ step: Int, _ target: UnsafeMutableRawPointer,
    _ distance: Int, _ count: Int
  ) {
    let size = MemoryLayout<T>.size
    for i in 0..<count {
      let element = source.loadUnaligned(fromByteOffset: i &* step &* size, as: T.self)
      target.storeBytes(of: element, toByteOffset: i &* distance &* size, as: T.self)
    }
  }

  // MARK: interleaved extents

  mutating func append(_ interleaved: Interleaved, _ bytes: Range<Int>) throws(ReadError) {
    let size = interleaved.dtype.size
    let isReadByRow = interleaved.children.allSatisfy { $0.isReadByRow && $0.width * size >= Gather.minRow }
    // Of a row or two each child has a piece or two, and the rest of a long row isn't wanted.
    if !isReadByRow && bytes.count > 2 * interleaved.rowElements * size {
      return try appendBlocks(interleaved, bytes)
    }
    try interleaved.forEachPiece(of: bytes, unit: size) { (child, part) throws(ReadError) in
      try append(child, part, interleaved.dtype)
    }
  }

  /// - Parameter bytes: of the child's.
  private mutating func append(_ child: Interleaved.Child, _ bytes: Range<Int>, _ dtype: DType)
    throws(ReadError)
  {
    try child.forEachExtent(in: bytes, unit: dtype.size) { (extent, part) throws(ReadError) in
      switch extent {
      case .zeros: appendZeros(part.count)
      case .run(let run): try append(run, part)
      case .interleaved(let nested): try append(nested, part)
      }
    }
  }

  /// Takes what each child has of some rows at once, and deals it out to them.
  private mutating func appendBlocks(_ interleaved: Interleaved, _ bytes: Range<Int>) throws(ReadError) {
    let size = interleaved.dtype.size
    let rowBytes = interleaved.rowElements * size
    // In bytes of all rows.
    let window = bytes.relative(to: -interleaved.window.lowerBound * size)
    let rows = (window.lowerBound / rowBytes)..<((window.upperBound - 1) / rowBytes + 1)
    let output = reserve(bytes.count)
    let blockRows = min(max(1, Gather.maxBlock / rowBytes), rows.count)
    let widest = interleaved.children.reduce(0) { max($0, $1.width) } * size
    var gather = Gather(capacity: blockRows * widest)
    let block = UnsafeMutableRawBufferPointer.allocate(byteCount: blockRows * widest, alignment: Gather.page)
    defer { block.deallocate() }
    for first in stride(from: rows.lowerBound, to: rows.upperBound, by: blockRows) {
      let end = min(first + blockRows, rows.upperBound)
      var start = 0
      for child in interleaved.children {
        let width = child.width * size
        gather.reset(.copied)
        try gather.append(child, (first * width)..<(end * width), interleaved.dtype)
        gather.copyPieces(to: block)
        for source in gather.sources { note(source) }
        for row in first..<end {
          let place = (row * rowBytes + start)..<(row * rowBytes + start + width)
          let part = place.clamped(to: window)
          if part.isEmpty { continue }
          let from = (row - first) * width + part.lowerBound - place.lowerBound
          UnsafeMutableRawBufferPointer(rebasing: output[part.relative(to: window.lowerBound)])
            .copyMemory(from: UnsafeRawBufferPointer(rebasing: block[from..<(from + part.count)]))
        }
        start += width
      }
    }
    append(output)
  }
}

extension Range<Int> {
  fileprivate func relative(to start: Int) -> Range<Int> { (lowerBound - start)..<(upperBound - start) }
}
