import Bytes
import CFuse
import Glibc
import Logging

/// The callbacks of the low-level API. Each answers its request exactly once.
///
/// What is not here libfuse answers with ENOSYS, and the kernel does before it asks: the mount is read-only, so writes, creates
/// and removals are EROFS, and permissions are checked by `default_permissions`.
func fuseOperations() -> fuse_lowlevel_ops {
  var operations = fuse_lowlevel_ops()
  operations.`init` = { _, connection in
    // libfuse compares it with the mount option of the same name.
    connection?.pointee.max_read = UInt32(FuseServer.longestRead)
    // File handles of inodes that the kernel has forgotten are asked for as "." of their numbers (fs/fuse/inode.c:
    // fuse_get_dentry).
    connection?.pointee.want |= UInt32(FUSE_CAP_EXPORT_SUPPORT)
  }
  operations.lookup = { request, parent, name in
    guard let name else { return fail(request, EINVAL) }
    let server = FuseServer.serving(request)
    let bytes = Array(UnsafeRawBufferPointer(start: name, count: strlen(name)))
    var entry = fuse_entry_param()
    entry.entry_timeout = FuseServer.timeout
    // Inode 0 says that there is no such name, and lets the kernel remember that (`fuse_lowlevel.h`: fuse_entry_param.ino).
    switch server.trees.lookup(bytes, in: parent) {
    case .inode(let inode):
      entry.ino = inode.number
      entry.attr = server.attributes(of: inode)
      entry.attr_timeout = FuseServer.attributeTimeout(of: inode)
    case .absent(let reason?):
      server.logger.warning("ENOENT for \(String(decoding: bytes, as: UTF8.self)): \(reason)")
    case .absent(nil):
      break
    case .busy(let reason):
      server.logger.warning("EBUSY for \(String(decoding: bytes, as: UTF8.self)): \(reason)")
      return fail(request, EBUSY)
    }
    // Nobody waits for the answer any more, and will forget it.
    if fuse_reply_entry(request, &entry) == -ENOENT && entry.ino != 0 { server.trees.forget(entry.ino, 1) }
  }
  operations.forget = { request, number, count in
    FuseServer.serving(request).trees.forget(number, count)
    fuse_reply_none(request)
  }
  operations.forget_multi = { request, count, forgets in
    let trees = FuseServer.serving(request).trees
    for one in UnsafeBufferPointer(start: forgets, count: count) { trees.forget(one.ino, one.nlookup) }
    fuse_reply_none(request)
  }
  operations.getattr = { request, number, _ in
    let server = FuseServer.serving(request)
    guard let inode = server.trees[number] else { return fail(request, ENOENT) }
    var attributes = server.attributes(of: inode)
    fuse_reply_attr(request, &attributes, FuseServer.attributeTimeout(of: inode))
  }
  operations.readdir = { request, number, size, offset, _ in readDirectory(request, number, size, offset) }
  operations.open = { request, number, information in
    guard let information else { return fail(request, EINVAL) }
    let server = FuseServer.serving(request)
    guard let inode = server.trees[number] else { return fail(request, ENOENT) }
    guard let open = inode.open() else { return fail(request, EISDIR) }
    guard information.pointee.flags & O_ACCMODE == O_RDONLY else { return fail(request, EROFS) }
    let isCached = server.isCached && !inode.isVolatile
    information.pointee.direct_io = isCached ? 0 : 1
    information.pointee.keep_cache = isCached ? 1 : 0
    information.pointee.noflush = 1
    let handle = Unmanaged.passRetained(FileHandle(open))
    information.pointee.fh = UInt64(UInt(bitPattern: handle.toOpaque()))
    // The opener was interrupted: no release will follow.
    if fuse_reply_open(request, information) == -ENOENT { handle.release() }
  }
  operations.release = { request, _, information in
    if let handle = FileHandle.of(information) {
      FuseServer.serving(request).gathers.forget(handle.takeUnretainedValue())
      handle.release()
    }
    fail(request, 0)
  }
  operations.read = { request, _, size, offset, information in readFile(request, size, offset, information) }
  operations.lseek = { request, _, offset, whence, information in
    guard let open = FileHandle.of(information)?.takeUnretainedValue().open else {
      return fail(request, EBADF)
    }
    guard whence == SEEK_DATA || whence == SEEK_HOLE else { return fail(request, EINVAL) }
    guard let position = open.file.seek(offset, toHole: whence == SEEK_HOLE) else {
      return fail(request, ENXIO)
    }
    fuse_reply_lseek(request, position)
  }
  operations.statfs = { request, _ in
    var statistics = FuseServer.serving(request).statistics
    fuse_reply_statfs(request, &statistics)
  }
  return operations
}

/// Answers with an error, or with plain success (0).
private func fail(_ request: fuse_req_t?, _ code: Int32) { fuse_reply_err(request, code) }

/// Bytes that an entry takes in an answer (`linux/fuse.h`: fuse_dirent), and a name of one byte.
private let shortestEntry = 32

private func readDirectory(_ request: fuse_req_t?, _ number: fuse_ino_t, _ size: Int, _ offset: off_t) {
  let server = FuseServer.serving(request)
  guard let directory = server.trees[number] else { return fail(request, ENOENT) }
  guard case .directory = directory.content else { return fail(request, ENOTDIR) }
  withUnsafeTemporaryAllocation(of: CChar.self, capacity: size) { buffer in
    var used = 0
    for entry in server.trees.entries(of: directory, from: offset, limit: size / shortestEntry + 1) {
      var status = stat()
      status.st_ino = UInt(entry.number)
      // Only the type is looked at.
      status.st_mode = entry.isDirectory ? S_IFDIR : S_IFREG
      let end = buffer.baseAddress.map { $0 + used }
      let length = fuse_add_direntry(request, end, size - used, entry.name, &status, entry.end)
      if length > size - used { break }
      used += length
    }
    fuse_reply_buf(request, buffer.baseAddress, used)
  }
}

private func readFile(
  _ request: fuse_req_t?, _ size: Int, _ offset: off_t, _ information: UnsafeMutablePointer<fuse_file_info>?
) {
  let server = FuseServer.serving(request)
  guard let handle = FileHandle.of(information)?.takeUnretainedValue() else { return fail(request, EBADF) }
  guard size <= server.gathers.capacity && offset >= 0 else { return fail(request, EINVAL) }
  let start = min(offset, handle.open.file.count)
  var window = start..<(start + min(size, handle.open.file.count - start))
  var request = ReadRequest(pointer: request, pace: handle.advance(over: window))
  guard var loan = server.gathers.lend(window, of: handle, to: request) else { return }
  while true {
    handle.answering { answer(request, with: window, of: handle.open, from: loan, server) }
    // While the reader takes in what it got, or makes memory for what comes next.
    guard request.pace.isInOrder, request.pace.isUnhurried || loan.lease.gather.isMostlyBuffered,
      let next = handle.window(after: window), server.gathers.begin(next, of: handle, in: loan.lease)
    else { return server.gathers.giveBack(loan.lease) }
    let verbatim: Gather.VerbatimRuns = request.pace.isUnhurried ? .copied : .mapped
    // What fails is tried again when it is asked for, and then an error.
    loan.isComposed = (try? handle.open.file.read(next, into: &loan.lease.gather, verbatim: verbatim)) != nil
    guard let waiting = server.gathers.end(loan.lease, isComposed: loan.isComposed) else { return }
    (request, window) = (waiting, next)
  }
}

private func answer(
  _ request: ReadRequest, with window: Range<Int>, of open: OpenFile, from loan: GatherPool.Loan,
  _ server: FuseServer
) {
  do {
    if loan.isComposed {
      try loan.lease.gather.verifySources()
    } else {
      try open.file.read(window, into: &loan.lease.gather, verbatim: .mapped)
    }
    let sent = loan.lease.gather.pieces.withUnsafeBufferPointer {
      fuse_reply_iov(request.pointer, $0.baseAddress, Int32($0.count))
    }
    // The kernel could not copy a mapped piece, and has answered with EIO; say why.
    if sent != 0 { explainFailedCopy(of: open, loan.lease.gather, server) }
  } catch {
    server.log(error, reading: open.path)
    fail(request.pointer, EIO)
  }
}

private func explainFailedCopy(of open: OpenFile, _ gather: borrowing Gather, _ server: FuseServer) {
  do {
    try gather.verifySources()
    server.logger.error("EIO for \(open.path): the kernel could not read a source file (a failing disk?)")
  } catch {
    server.log(error, reading: open.path)
  }
}

extension FuseServer {
  fileprivate static func serving(_ request: fuse_req_t?) -> FuseServer {
    serving(userData: fuse_req_userdata(request))
  }

  /// The server behind the `userdata` of a session, which keeps it alive.
  static func serving(userData: UnsafeMutableRawPointer?) -> FuseServer {
    guard let userData else { preconditionFailure("a session without its server") }
    return Unmanaged<FuseServer>.fromOpaque(userData).takeUnretainedValue()
  }
}

extension FileHandle {
  /// The handle that `open` left; retained until `release`.
  fileprivate static func of(_ information: UnsafeMutablePointer<fuse_file_info>?) -> Unmanaged<FileHandle>? {
    information.flatMap { UnsafeRawPointer(bitPattern: UInt($0.pointee.fh)) }.map { .fromOpaque($0) }
  }
}
