import Bytes
import Glibc

/// A file on disk that holds, or is to hold, what a virtual file holds.
///
/// It is written under another name, which is made anew: what is there under that name is never opened to write, unless it is
/// what a killed run left, and then it is removed.
struct TargetFile {
  let directory: OpenDirectory
  let name: String
  let isExecutable: Bool
  /// Whether finished files stay when a later one fails: not of an archive, which is one file.
  let isOneOfMany: Bool
  /// What the file is called until it is whole.
  let partialName: String

  private static let partialSuffix = ".zerofs-partial"

  /// - Parameter partialStem: without the suffix; the file's own name with a dot in front, if it isn't given.
  init(
    _ name: String, in directory: OpenDirectory, isExecutable: Bool = false, isOneOfMany: Bool = true,
    partialStem: String? = nil
  ) {
    (self.directory, self.name) = (directory, name)
    (self.isExecutable, self.isOneOfMany) = (isExecutable, isOneOfMany)
    partialName = partialStem.map { $0 + Self.partialSuffix } ?? Self.partialName(of: name)
  }

  /// The name of the unfinished file `name`, or of the one at the path `name`.
  static func partialName(of name: String) -> String {
    let (directory, file) = splitPath(name)
    return "\(directory).\(file)\(partialSuffix)"
  }

  var path: String { "\(directory.path)/\(name)" }
  private var partialPath: String { "\(directory.path)/\(partialName)" }

  /// Writes all of `file`. Runs of zeros become holes.
  ///
  /// - Returns: its CRC.
  /// - Throws: `TargetError`, or `ReadError` of a source.
  func write(_ file: VirtualFile, _ progress: ByteProgress) throws -> CRC32 {
    try replacing { try fill($0, with: file, progress) }
  }

  /// Has `body` write a new file, syncs it and gives it its name. If that fails what was written is removed.
  ///
  /// - Throws: `TargetError`, or what `body` throws.
  func replacing<Result>(_ body: (_ descriptor: Int32) throws -> Result) throws -> Result {
    try removeRemains()
    let flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC
    let descriptor = openat(directory.descriptor, partialName, flags, isExecutable ? 0o777 : 0o666)
    guard descriptor >= 0 else {
      if errno == EEXIST { throw TargetError.busy(path: path) }
      throw error(errno)
    }
    defer { close(descriptor) }
    // Whoever finds the name from now on sees that it is being written.
    guard lock(descriptor) else { throw TargetError.busy(path: path) }
    do {
      let result = try body(descriptor)
      guard fsync(descriptor) == 0 else { throw error(errno) }
      guard isNamed(descriptor) else { throw TargetError.busy(path: path) }
      guard renameat(directory.descriptor, partialName, directory.descriptor, name) == 0 else {
        throw error(errno)
      }
      return result
    } catch {
      if isNamed(descriptor) { directory.remove(partialName) }
      throw error
    }
  }

  /// Removes what a killed run left under the partial name.
  ///
  /// - Throws: `TargetError.inTheWay` for what zerofs doesn't leave: a link, a pipe, a file with other names;
  ///   `TargetError.busy` where another process writes it.
  private func removeRemains() throws(TargetError) {
    guard let found = directory.status(partialName) else { return }
    guard found.isRegularFile, found.st_nlink == 1 else {
      let what = found.isRegularFile ? "a file with other names, too," : found.kind
      throw .inTheWay(path: partialPath, why: "is \(what) under the name of an unfinished file")
    }
    let flags = O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC
    let descriptor = openat(directory.descriptor, partialName, flags)
    guard descriptor >= 0 else { throw .unwritable(path: partialPath, errno: errno) }
    defer { close(descriptor) }
    // Between the two calls the other run may have finished: what was opened here is its file then.
    guard lock(descriptor), isNamed(descriptor) else { throw .busy(path: path) }
    directory.remove(partialName)
  }

  /// A file system without locks can't tell; it takes two runs of one share to need it.
  private func lock(_ descriptor: Int32) -> Bool {
    flock(descriptor, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK
  }

  /// Whether the partial name still is that of the open file.
  private func isNamed(_ descriptor: Int32) -> Bool {
    var opened = stat()
    guard fstat(descriptor, &opened) == 0, let named = directory.status(partialName) else { return false }
    return named.isSameFile(as: opened)
  }

  /// Writes all of `file` to the descriptor of an unfinished file.
  private func fill(_ descriptor: Int32, with file: VirtualFile, _ progress: ByteProgress) throws -> CRC32 {
    var reader = SequentialReader(file)
    while case let start = reader.position, let part = try reader.next() {
      guard case .bytes(let bytes) = part else { continue }
      try write(bytes, to: descriptor, at: start)
      try progress.advance(bytes.count)
    }
    // A hole at the end.
    guard ftruncate(descriptor, file.count) == 0 else { throw error(errno) }
    return reader.checksum
  }

  /// Writes `bytes` to the unfinished file from `offset` on.
  func write(_ bytes: UnsafeRawBufferPointer, to descriptor: Int32, at offset: Int) throws(TargetError) {
    if let code = writeAll(bytes, to: descriptor, at: offset) { throw error(code) }
  }

  private func error(_ code: Int32) -> TargetError {
    TargetError(path, errno: code, keepsFinished: isOneOfMany)
  }

  /// Compares the file on disk with all of `file`.
  ///
  /// - Returns: the CRC if it is equal; `nil` if it isn't.
  /// - Throws: `ReadError`.
  func checksum(ifEqual file: VirtualFile, _ progress: ByteProgress) throws -> CRC32? {
    let actual = try SourceFile(path: path)
    guard actual.size == file.count else { return nil }
    var reader = SequentialReader(file)
    while case let start = reader.position, let part = try reader.next() {
      switch part {
      case .bytes(let bytes):
        if try !actual.bytes(start..<(start + bytes.count)).elementsEqual(bytes) { return nil }
        try progress.advance(bytes.count)
      case .zeros(let count):
        if try !actual.isZero(start..<(start + count)) { return nil }
      }
    }
    return reader.checksum
  }
}
