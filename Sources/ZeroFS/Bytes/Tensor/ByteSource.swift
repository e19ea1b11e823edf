/// Bytes that extents refer to: a source file, or rows computed from one. The seam for fault injection.
package protocol ByteSource: AnyObject, Sendable {
  /// What a message calls it; a path for a file.
  var name: String { get }

  /// All of it in memory, for pieces that the kernel copies (user space must not touch them: a truncated file
  /// faults there). `nil` where there is no such mapping.
  var mapping: UnsafeRawBufferPointer? { get }

  /// Fills `buffer` with the bytes from `offset` on.
  func read(at offset: Int, into buffer: UnsafeMutableRawBufferPointer) throws(ReadError)

  /// Throws if the source is no longer what it was when its tensors were planned. Called after the bytes of a window
  /// were taken, so that a change during the read is noticed.
  func verify() throws(ReadError)

  /// Where the bytes of `range` are stored; empty where they aren't, or nobody knows.
  func sourceRanges(of range: Range<Int>) -> [SourceRange]
}

extension ByteSource {
  package func sourceRanges(of range: Range<Int>) -> [SourceRange] { [] }

  /// The bytes of `range`; for headers and small files.
  package func bytes(_ range: Range<Int>) throws(ReadError) -> [UInt8] {
    var failure: ReadError?
    let bytes = [UInt8](unsafeUninitializedCapacity: range.count) { buffer, count in
      do throws(ReadError) {
        try read(
          at: range.lowerBound,
          into: UnsafeMutableRawBufferPointer(rebasing: UnsafeMutableRawBufferPointer(buffer)[..<range.count])
        )
        count = range.count
      } catch {
        failure = error
        count = 0
      }
    }
    if let failure { throw failure }
    return bytes
  }
}

/// Why bytes could not be produced. Readers see all of them as EIO.
package enum ReadError: Failure, Equatable {
  /// The source file at `path` was changed, truncated, replaced or removed after it was opened.
  case sourceChanged(path: String, what: String)
  /// A read of the source file failed with `errno`.
  case io(path: String, offset: Int, errno: Int32)
  /// The source ended before the bytes that its header promises.
  case endOfFile(path: String, offset: Int)
  /// A file that is read whole has more bytes than anything of its kind.
  case tooLarge(path: String, bytes: Int, limit: Int)
  /// What the archive at `path` holds from `offset` on isn't what was written there.
  case damaged(path: String, offset: Int)

  package var exitStatus: ExitStatus {
    switch self {
    case .sourceChanged, .io, .endOfFile, .tooLarge, .damaged: .inputOutput
    }
  }

  package var description: String {
    switch self {
    case .sourceChanged(let path, let what):
      "\(path): \(what) since it was opened; its bytes are no longer served. Unmount and mount again to serve the new file."
    case .io(let path, let offset, let code):
      "\(path): reading at byte \(offset): \(errnoMessage(code))"
    case .endOfFile(let path, let offset):
      "\(path): ends before byte \(offset), which its header promises"
    case .tooLarge(let path, _, _): "\(path): \(reason)"
    case .damaged(let path, let offset):
      "\(path): damaged from byte \(offset) on: the checksum of a zstd frame is wrong. Fetch the archive again."
    }
  }
}

extension ReadError {
  /// The source that could not be read.
  package var path: String {
    switch self {
    case .sourceChanged(let path, _), .io(let path, _, _), .endOfFile(let path, _), .tooLarge(let path, _, _),
      .damaged(let path, _):
      path
    }
  }

  /// What went wrong, without the path.
  package var reason: String {
    switch self {
    case .io(_, _, let code): errnoMessage(code)
    case .tooLarge(_, let bytes, let limit):
      "has \(bytes.bytesText), and at most \(limit.bytesText) are read of such a file"
    case .sourceChanged, .endOfFile, .damaged: description
    }
  }
}
