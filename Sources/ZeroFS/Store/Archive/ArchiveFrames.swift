import Bytes

/// The frames of a seekable zstd file, decompressed when they are read. The last ones are kept.
final class ArchiveFrames: Sendable {
  let file: SourceFile
  let table: SeekTable
  private let cache = LockedValue<[(frame: Int, bytes: [UInt8])]>([])
  /// Those that no thread uses: making one costs more than a short frame.
  private let decompressors = LockedValue<[FrameDecompressor]>([])

  /// Frames that are kept: what several readers of strided tensors go back and forth between.
  private static let cachedFrames = 32
  /// Bytes of the longest frame but the manifest's: twice what is written. With `cachedFrames` it bounds what is kept to 64 MiB.
  static let maxFrame = 2 << 20

  /// - Throws: `ArchiveError.malformed`, `ReadError`.
  init(path: String) throws {
    file = try SourceFile(path: path)
    table = try SeekTable(of: file)
    guard table.count > 0 else { throw ArchiveError.malformed(path: path, why: "it holds nothing") }
  }

  /// What a frame holds.
  ///
  /// - Parameter limit: bytes; a longer frame is damaged.
  /// - Throws: `ReadError.damaged` where the frame isn't what was written.
  func decompress(_ frame: Int, limit: Int = maxFrame) throws(ReadError) -> [UInt8] {
    guard let bytes = try bytes(frame, limit, ignoringChecksum: false) else {
      throw .damaged(path: file.path, offset: table.compressed[frame])
    }
    return bytes
  }

  /// What can be decoded of a frame though its checksum is wrong; `nil` if nothing can.
  func remains(_ frame: Int) throws(ReadError) -> [UInt8]? {
    try bytes(frame, Self.maxFrame, ignoringChecksum: true)
  }

  private func bytes(_ frame: Int, _ limit: Int, ignoringChecksum: Bool) throws(ReadError) -> [UInt8]? {
    let (place, count) = (table.places(frame).compressed, table.places(frame).decompressed.count)
    // Incompressible bytes grow by a few.
    guard count <= limit, place.count <= 2 * limit else { return nil }
    let compressed = try file.bytes(place)
    let decompressor = decompressors.withLock { $0.popLast() } ?? FrameDecompressor()
    defer { decompressors.withLock { $0.append(decompressor) } }
    return decompressor.decompress(compressed, count: count, ignoringChecksum: ignoringChecksum)
  }

  /// The elements in a frame of byte planes, in their order.
  func elements(_ frame: Int, width: Int) throws(ReadError) -> [UInt8] {
    let known = cache.withLock { cache -> [UInt8]? in
      guard let index = cache.lastIndex(where: { $0.frame == frame }) else { return nil }
      let found = cache.remove(at: index)
      cache.append(found)
      return found.bytes
    }
    if let known { return known }
    let bytes = BytePlanes.join(try decompress(frame), width: width)
    cache.withLock { cache in
      // Another reader may have been faster.
      if cache.contains(where: { $0.frame == frame }) { return }
      if cache.count == Self.cachedFrames { cache.removeFirst() }
      cache.append((frame, bytes))
    }
    return bytes
  }
}
