import CZstd

/// Makes zstd frames, each on its own. One thread at a time uses it.
final class FrameCompressor {
  /// - Parameter level: zstd's; `nil` for entropy coding alone. Weights repeat nothing but by chance, and matches of a few bytes
  ///   cost more than they save: without them frames are smaller, and no slower to make.
  init(level: Int?) {
    contexts = ([nil] + (level.map { [$0] } ?? [])).compactMap { level in
      guard let context = ZSTD_createCCtx() else { return nil }
      ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, Int32(level ?? 1))
      ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1)
      // The smallest table of earlier places, in which next to none is found; runs of one byte still are.
      if level == nil { ZSTD_CCtx_setParameter(context, ZSTD_c_hashLog, 6) }
      return context
    }
  }

  private let contexts: [OpaquePointer]

  deinit { for context in contexts { ZSTD_freeCCtx(context) } }

  /// The frame that holds `bytes`: where there is a level, the smaller one of both ways.
  func compress(_ bytes: [UInt8]) -> [UInt8] {
    var smallest: [UInt8] = []
    for context in contexts {
      let frame = [UInt8](unsafeUninitializedCapacity: ZSTD_compressBound(bytes.count)) { buffer, count in
        let result = bytes.withUnsafeBytes {
          ZSTD_compress2(context, buffer.baseAddress, buffer.count, $0.baseAddress, $0.count)
        }
        precondition(ZSTD_isError(result) == 0, "zstd fails to compress into the bound that it names")
        count = result
      }
      if smallest.isEmpty || frame.count < smallest.count { smallest = frame }
    }
    return smallest
  }
}

/// Reads zstd frames. One thread at a time uses it.
final class FrameDecompressor {
  private let context: OpaquePointer?
  init() { context = ZSTD_createDCtx() }
  deinit { ZSTD_freeDCtx(context) }

  /// What a frame holds: exactly `count` bytes. `nil` if it doesn't, or is damaged.
  ///
  /// - Parameter ignoringChecksum: takes what can be decoded of a damaged frame, too.
  func decompress(_ frame: [UInt8], count: Int, ignoringChecksum: Bool = false) -> [UInt8]? {
    guard let context else { return nil }
    // ZSTD_d_forceIgnoreChecksum, a macro for it.
    let checksum = ignoringChecksum ? ZSTD_d_ignoreChecksum : ZSTD_d_validateChecksum
    ZSTD_DCtx_setParameter(context, ZSTD_d_experimentalParam3, Int32(checksum.rawValue))
    let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, written in
      let result = frame.withUnsafeBytes {
        ZSTD_decompressDCtx(context, buffer.baseAddress, count, $0.baseAddress, $0.count)
      }
      written = ZSTD_isError(result) == 0 ? result : 0
    }
    return bytes.count == count ? bytes : nil
  }
}

/// What zstd can do.
package enum Zstd {
  /// Levels of compression.
  package static var levels: ClosedRange<Int> { 1...Int(ZSTD_maxCLevel()) }
}
