import Glibc

/// A file that tensors are in: on disk, or in an archive.
package protocol StoredFile: ByteSource {
  var path: String { get }
  /// Bytes.
  var size: Int { get }
  var modified: timespec { get }
}

extension StoredFile {
  package var name: String { path }

  /// All of it.
  ///
  /// - Parameter limit: bytes; a longer file is an error before it is read.
  package func contents(limit: Int = 64 << 20) throws(ReadError) -> [UInt8] {
    guard size <= limit else { throw .tooLarge(path: path, bytes: size, limit: limit) }
    return try bytes(0..<size)
  }
}

/// A source file, opened once and pinned to what it was then.
package final class SourceFile: StoredFile {
  package let path: String
  package let size: Int
  package let modified: timespec
  private let descriptor: Int32
  private let identity: Identity
  private let owner: uid_t
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

  package init(path: String) throws(ReadError) {
    // Opening a pipe would wait for its writer.
    let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else { throw .io(path: path, offset: 0, errno: errno) }
    var status = stat()
    guard fstat(descriptor, &status) == 0, status.isRegularFile else {
      let code = status.isDirectory ? EISDIR : EINVAL
      close(descriptor)
      throw .io(path: path, offset: 0, errno: code)
    }
    self.path = path
    self.descriptor = descriptor
    identity = Identity(status)
    size = identity.size
    modified = status.st_mtim
    owner = status.st_uid
    // Twice as long requests, of which storage that takes its time answers as many (`mm/fadvise.c`: `generic_fadvise`).
    posix_fadvise(descriptor, 0, 0, POSIX_FADV_SEQUENTIAL)
    let pointer =
      size == 0 ? MAP_FAILED : mmap(nil, size, PROT_READ, MAP_SHARED | MAP_NORESERVE, descriptor, 0)
    mapped = pointer == MAP_FAILED ? nil : UnsafeRawBufferPointer(start: pointer, count: size)
  }

  /// The whole of a small file: a configuration, a command line, a report.
  ///
  /// - Parameter limit: bytes; a longer file is an error before it is read.
  package static func contents(of path: String, limit: Int = 64 << 20) throws(ReadError) -> [UInt8] {
    try SourceFile(path: path).contents(limit: limit)
  }

  deinit {
    if let mapped { munmap(UnsafeMutableRawPointer(mutating: mapped.baseAddress), mapped.count) }
    close(descriptor)
  }

  package var mapping: UnsafeRawBufferPointer? { mapped }

  package func sourceRanges(of range: Range<Int>) -> [SourceRange] { [SourceRange(self, range)] }

  /// Bytes that the kernel reads ahead of a file that is read in order, if nobody has set it otherwise (twice `VM_READAHEAD_PAGES`).
  private static let readaheadCount = 256 << 10

  /// Has the kernel read `range` into its page cache, and waits for it. Nothing is copied: it goes to /dev/null by sendfile(2).
  ///
  /// - Returns: whether that had to wait for the storage.
  func fetch(_ range: Range<Int>) throws(ReadError) -> Bool {
    let waits = BlockedThread.count
    var position = range.lowerBound
    while position < range.upperBound {
      let count = sendfile(SourceFile.null, descriptor, &position, range.upperBound - position)
      if count > 0 || errno == EINTR && count < 0 { continue }
      guard count < 0 else { throw .endOfFile(path: path, offset: position) }
      // A file system without splice_read.
      guard errno == EINVAL else { throw .io(path: path, offset: position, errno: errno) }
      position += try bytes(position..<range.upperBound).count
    }
    return BlockedThread.count != waits
  }

  private static let null = open("/dev/null", O_WRONLY | O_CLOEXEC)

  /// Has the kernel request all of `range` at once, and doesn't wait: by itself it makes one or two requests at a time. A call takes what
  /// the storage takes at a time, or `readaheadCount` if that is more (`mm/readahead.c`: `force_page_cache_ra`), and leaves the rest.
  func announce(_ range: Range<Int>) {
    for start in stride(from: range.lowerBound, to: range.upperBound, by: SourceFile.readaheadCount) {
      posix_fadvise(descriptor, start, range.upperBound - start, POSIX_FADV_WILLNEED)
    }
  }

  /// Whether all pages of `range` are in the page cache, without waiting. False where the kernel doesn't say it: it does to the owner
  /// of a file, and to root (mincore(2)).
  func isResident(_ range: Range<Int>) -> Bool {
    if range.isEmpty { return true }
    guard isAccountable, let base = mapped?.baseAddress, range.upperBound <= size else { return false }
    let start = range.lowerBound & ~4095
    let pages = (range.upperBound - start + 4095) / 4096
    return withUnsafeTemporaryAllocation(byteCount: pages, alignment: 1) { states in
      mincore(
        UnsafeMutableRawPointer(mutating: base + start), range.upperBound - start,
        states.bindMemory(to: UInt8.self).baseAddress) == 0
        && states.allSatisfy { $0 & 1 != 0 }
    }
  }

  /// Whether the kernel says that a page of `range` isn't in the page cache.
  func isMissing(_ range: Range<Int>) -> Bool {
    isAccountable && range.upperBound <= size && !isResident(range)
  }

  /// Whether this process is told what the page cache has of the file.
  private var isAccountable: Bool { owner == geteuid() || SourceFile.isRoot }

  /// Root of the machine, not of a user namespace: user_namespaces(7), uid_map.
  private static let isRoot: Bool = {
    let map = open("/proc/self/uid_map", O_RDONLY | O_CLOEXEC)
    defer { close(map) }
    var text = [UInt8](repeating: 0, count: 256)
    let count = Glibc.read(map, &text, text.count)
    return geteuid() == 0
      && String(decoding: text.prefix(max(0, count)), as: UTF8.self).contains(" 4294967295")
  }()

  package func read(at offset: Int, into buffer: UnsafeMutableRawBufferPointer) throws(ReadError) {
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
  package func nextData(from offset: Int) -> Int? {
    let data = lseek(descriptor, offset, SourceFile.seekData)
    return data >= 0 ? data : errno == ENXIO ? nil : offset
  }

  /// `SEEK_DATA`, which the Glibc module hides.
  private static let seekData: Int32 = 3

  /// Compares the file that `path` names now (through symbolic links) with the one that was opened: device, inode, size,
  /// mtime and ctime. The ctime tells of writes that set the mtime back.
  package func verify() throws(ReadError) {
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

extension SourceFile {
  /// Whether there is nothing but zeros in `range`. Holes aren't read.
  package func isZero(_ range: Range<Int>) throws(ReadError) -> Bool {
    var position = range.lowerBound
    while position < range.upperBound {
      guard let data = nextData(from: position), data < range.upperBound else { return true }
      position = max(position, data)
      let bytes = try bytes(position..<min(range.upperBound, position + 65536))
      if bytes.contains(where: { $0 != 0 }) { return false }
      position += bytes.count
    }
    return true
  }
}
