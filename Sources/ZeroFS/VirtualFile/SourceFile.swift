import Glibc

/// A file that tensors are in: on disk, or in an archive.
public protocol StoredFile: ByteSource {
  var path: String { get }
  /// Bytes.
  var size: Int { get }
  var modified: timespec { get }
}

extension StoredFile {
  public var name: String { path }
}

/// A source file, opened once and pinned to what it was then.
public final class SourceFile: StoredFile {
  public let path: String
  public let size: Int
  public let modified: timespec
  private let descriptor: Int32
  private let identity: Identity
  // Written once in init; the mapping lives as long as this object, and only the kernel dereferences it.
  private nonisolated(unsafe) let mapped: UnsafeRawBufferPointer?

  private struct Identity: Equatable {
    let device: UInt, inode: UInt, size: Int
    let modified: [Int], changed: [Int]

    init(_ status: stat) {
      device = UInt(status.st_dev)
      inode = UInt(status.st_ino)
      size = Int(status.st_size)
      modified = [status.st_mtim.tv_sec, status.st_mtim.tv_nsec]
      changed = [status.st_ctim.tv_sec, status.st_ctim.tv_nsec]
    }
  }

  public init(path: String) throws(ReadError) {
    // Opening a pipe would wait for its writer.
    let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else { throw .io(path: path, offset: 0, errno: errno) }
    var status = stat()
    guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
      let code = status.st_mode & S_IFMT == S_IFDIR ? EISDIR : EINVAL
      close(descriptor)
      throw .io(path: path, offset: 0, errno: code)
    }
    self.path = path
    self.descriptor = descriptor
    identity = Identity(status)
    size = identity.size
    modified = status.st_mtim
    let pointer =
      size == 0 ? MAP_FAILED : mmap(nil, size, PROT_READ, MAP_SHARED | MAP_NORESERVE, descriptor, 0)
    mapped = pointer == MAP_FAILED ? nil : UnsafeRawBufferPointer(start: pointer, count: size)
  }

  deinit {
    if let mapped { munmap(UnsafeMutableRawPointer(mutating: mapped.baseAddress), mapped.count) }
    close(descriptor)
  }

  public var mapping: UnsafeRawBufferPointer? { mapped }

  public func read(at offset: Int, into buffer: UnsafeMutableRawBufferPointer) throws(ReadError) {
    var done = 0
    while done < buffer.count {
      let count = pread(descriptor, buffer.baseAddress! + done, buffer.count - done, offset + done)
      if count > 0 {
        done += count
      } else if count == 0 {
        throw .endOfFile(path: path, offset: offset + done)
      } else if errno != EINTR {
        throw .io(path: path, offset: offset + done, errno: errno)
      }
    }
  }

  /// `lseek(offset, SEEK_DATA)`: where the next byte is that isn't in a hole; `nil` where there is none.
  func nextData(from offset: Int) -> Int? {
    let data = lseek(descriptor, offset, SourceFile.seekData)
    return data >= 0 ? data : errno == ENXIO ? nil : offset
  }

  /// `SEEK_DATA`, which the Glibc module hides.
  private static let seekData: Int32 = 3

  /// Compares the file that `path` names now (through symbolic links) with the one that was opened: device, inode, size,
  /// mtime and ctime. The ctime tells of writes that set the mtime back.
  public func verify() throws(ReadError) {
    var status = stat()
    guard stat(path, &status) == 0 else {
      throw .sourceChanged(
        path: path, what: errno == ENOENT ? "was removed" : "cannot be examined (\(errnoMessage(errno)))")
    }
    let now = Identity(status)
    if now == identity { return }
    let what =
      (now.device, now.inode) != (identity.device, identity.inode)
      ? "was replaced"
      : now.size != identity.size
        ? "changed its size from \(identity.size) to \(now.size) bytes" : "was changed"
    throw .sourceChanged(path: path, what: what)
  }
}

/// `strerror(code)`.
public func errnoMessage(_ code: Int32) -> String {
  String(cString: strerror(code))
}
