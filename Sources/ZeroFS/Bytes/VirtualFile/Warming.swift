import Glibc

/// What files are made of, to be read into the page cache before anybody needs it.
package struct Warming: Sendable {
  /// In the order of the files; each part of a source once.
  package let pieces: [SourceRange]

  package var bytes: Int { pieces.reduce(0) { $0 + $1.bytes.count } }

  package init(_ files: some Sequence<VirtualFile>) {
    var known: Set<Piece> = []
    var pieces: [SourceRange] = []
    for file in files {
      for start in stride(from: 0, to: file.count, by: Warming.window) {
        for range in file.sourceRanges(of: start..<min(start + Warming.window, file.count))
        where !range.bytes.isEmpty {
          let (first, last) = (range.bytes.lowerBound, range.bytes.upperBound - 1)
          for number in (first / Prefetcher.pieceCount)...(last / Prefetcher.pieceCount)
          where known.insert(Piece(file: ObjectIdentifier(range.file), number: number)).inserted {
            let start = number * Prefetcher.pieceCount
            pieces.append(
              SourceRange(range.file, start..<min(start + Prefetcher.pieceCount, range.file.size)))
          }
        }
      }
    }
    self.pieces = pieces
  }

  /// Bytes of files whose sources are looked up at a time.
  private static let window = 64 << 20

  private struct Piece: Hashable {
    let file: ObjectIdentifier
    let number: Int
  }

  /// Reads them, as many at a time as a mount would.
  ///
  /// - Throws: `ReadError`.
  package func run(_ progress: ByteProgress) throws {
    _ = try Workers.run(
      Prefetcher.maxThreads, pieces, progress, context: {},
      { _, piece in
        _ = try piece.file.fetch(piece.bytes)
        try progress.advance(piece.bytes.count)
      })
  }
}
