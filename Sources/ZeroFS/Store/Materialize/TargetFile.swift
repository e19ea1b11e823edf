import Bytes
import Glibc

/// A file on disk that holds, or is to hold, what a virtual file holds.
struct TargetFile {
  let path: String
  let isExecutable: Bool
  /// What the file is called until it is whole.
  let partialPath: String

  static let partialSuffix = ".zerofs-partial"

  /// - Parameter partialName: without the suffix; the file's own name with a dot in front, if it isn't given.
  init(_ path: String, isExecutable: Bool = false, partialName: String? = nil) {
    (self.path, self.isExecutable) = (path, isExecutable)
    let (directory, name) = TargetFile.split(path)
    partialPath = directory + (partialName ?? ".\(name)") + TargetFile.partialSuffix
  }

  /// Writes all of `file`. Runs of zeros become holes.
  ///
  /// - Returns: its CRC.
  /// - Throws: `TargetError`, or `ReadError` of a source.
  func write(_ file: VirtualFile, _ progress: ByteProgress) throws -> CRC32 {
    try replacing { try TargetFile.fill($0, with: file, path: partialPath, progress) }
  }

  /// Has `body` write an empty file under another name, syncs it and gives it its own. If that fails what was written is removed.
  ///
  /// - Throws: `TargetError`, or what `body` throws.
  func replacing<Result>(_ body: (_ descriptor: Int32) throws -> Result) throws -> Result {
    let partial = partialPath
    let descriptor = open(partial, O_WRONLY | O_CREAT | O_CLOEXEC, isExecutable ? 0o777 : 0o666)
    guard descriptor >= 0 else { throw TargetError(partial, errno: errno) }
    defer { close(descriptor) }
    // A file system without locks can't tell; it takes two runs of one share to need it.
    if flock(descriptor, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK {
      throw TargetError.busy(path: path)
    }
    // Between the two calls the other run may have finished, and what was opened here is its file.
    var (opened, named) = (stat(), stat())
    guard fstat(descriptor, &opened) == 0, stat(partial, &named) == 0, opened.st_ino == named.st_ino else {
      throw TargetError.busy(path: path)
    }
    do {
      // A killed run may have left some of it.
      guard ftruncate(descriptor, 0) == 0 else { throw TargetError(partial, errno: errno) }
      let result = try body(descriptor)
      guard fsync(descriptor) == 0, rename(partial, path) == 0 else { throw TargetError(path, errno: errno) }
      return result
    } catch {
      unlink(partial)
      throw error
    }
  }

  /// Writes all of `file` to the descriptor of an unfinished file.
  private static func fill(
    _ descriptor: Int32, with file: VirtualFile, path: String, _ progress: ByteProgress
  )
    throws -> CRC32
  {
    var reader = SequentialReader(file)
    while case let start = reader.position, let part = try reader.next() {
      guard case .bytes(let bytes) = part else { continue }
      try write(bytes, to: descriptor, at: start, path: path)
      try progress.advance(bytes.count)
    }
    // A hole at the end.
    guard ftruncate(descriptor, file.count) == 0 else { throw TargetError(path, errno: errno) }
    return reader.checksum
  }

  static func write(
    _ bytes: UnsafeRawBufferPointer, to descriptor: Int32, at offset: Int, path: String
  ) throws(TargetError) {
    var done = 0
    while done < bytes.count {
      let count = pwrite(descriptor, bytes.baseAddress.map { $0 + done }, bytes.count - done, offset + done)
      if count < 0 && errno == EINTR { continue }
      guard count > 0 else { throw TargetError(path, errno: count < 0 ? errno : ENOSPC) }
      done += count
    }
  }

  /// Compares the file on disk with all of `file`.
  ///
  /// - Returns: the CRC if it is equal; `nil` if it isn't.
  /// - Throws: `ReadError`.
  func checksum(ifEqual file: VirtualFile, _ progress: ByteProgress) throws -> CRC32? {
    let actual = try SourceFile(path: path)
    guard actual.size == file.count else { return nil }
    var reader = SequentialReader(file)
    var buffer = [UInt8]()
    while case let start = reader.position, let part = try reader.next() {
      switch part {
      case .bytes(let bytes):
        if buffer.count < bytes.count { buffer = [UInt8](repeating: 0, count: bytes.count) }
        let isEqual = try buffer.withUnsafeMutableBytes { buffer in
          let target = UnsafeMutableRawBufferPointer(rebasing: buffer[..<bytes.count])
          try actual.read(at: start, into: target)
          return memcmp(target.baseAddress!, bytes.baseAddress!, bytes.count) == 0
        }
        if !isEqual { return nil }
        try progress.advance(bytes.count)
      case .zeros(let count):
        if try !actual.isZero(start..<(start + count)) { return nil }
      }
    }
    return reader.checksum
  }

  /// The directory of a path with the slash behind it, and the name in it.
  static func split(_ path: String) -> (directory: Substring, name: Substring) {
    let slash = path.lastIndex(of: "/").map { path.index(after: $0) } ?? path.startIndex
    return (path[..<slash], path[slash...])
  }
}
