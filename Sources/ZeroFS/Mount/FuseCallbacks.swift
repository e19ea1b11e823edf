import Bytes
import CFuse
import Glibc
import Logging

/// The callbacks of the low-level API. Each answers its request exactly once; a read may be answered by the callback of another
/// one (`readFile`).
///
/// What is not here libfuse answers with ENOSYS, and the kernel does before it asks: the mount is read-only, so writes, creates
/// and removals are EROFS, and permissions are checked by `default_permissions`.
func fuseOperations() -> fuse_lowlevel_ops {
  var operations = fuse_lowlevel_ops()
  operations.`init` = { _, connection in initialize(connection) }
  operations.lookup = { request, parent, name in lookUp(request, parent, name) }
  operations.forget = { request, number, count in
    FuseServer.serving(request).superblock.forget(number, count)
    fuse_reply_none(request)
  }
  operations.forget_multi = { request, count, forgets in
    let superblock = FuseServer.serving(request).superblock
    for one in UnsafeBufferPointer(start: forgets, count: count) { superblock.forget(one.ino, one.nlookup) }
    fuse_reply_none(request)
  }
  operations.getattr = { request, number, _ in getAttributes(request, number) }
  operations.readdir = { request, number, size, offset, _ in readDirectory(request, number, size, offset) }
  operations.statfs = { request, _ in
    var statistics = FuseServer.serving(request).statistics
    fuse_reply_statfs(request, &statistics)
  }
  operations.open = { request, number, information in openFile(request, number, information) }
  operations.read = { request, _, size, offset, information in readFile(request, size, offset, information) }
  operations.lseek = { request, _, offset, whence, information in
    seekFile(request, offset, whence, information)
  }
  operations.release = { request, _, information in releaseFile(request, information) }
  return operations
}

/// Answers with an error, or with plain success (0).
func fail(_ request: fuse_req_t?, _ code: Int32) { fuse_reply_err(request, code) }

private func initialize(_ connection: UnsafeMutablePointer<fuse_conn_info>?) {
  // libfuse compares it with the mount option of the same name.
  connection?.pointee.max_read = UInt32(FuseServer.maxRead)
  // File handles of inodes that the kernel has forgotten are asked for as "." of their numbers (fs/fuse/inode.c:
  // fuse_get_dentry).
  connection?.pointee.want |= UInt32(FUSE_CAP_EXPORT_SUPPORT)
}

private func lookUp(_ request: fuse_req_t?, _ parent: fuse_ino_t, _ name: UnsafePointer<CChar>?) {
  guard let name else { return fail(request, EINVAL) }
  let server = FuseServer.serving(request)
  let bytes = Array(UnsafeRawBufferPointer(start: name, count: strlen(name)))
  var entry = fuse_entry_param()
  entry.entry_timeout = FuseServer.timeout
  // Inode 0 says that there is no such name, and lets the kernel remember that (`fuse_lowlevel.h`: fuse_entry_param.ino).
  switch server.superblock.lookup(bytes, in: parent) {
  case .inode(let inode):
    entry.ino = inode.number
    entry.attr = server.attributes(of: inode)
    entry.attr_timeout = FuseServer.attributeTimeout(of: inode)
  case .absent(let reason?):
    server.logger.warning("ENOENT for \(String(decoding: bytes, as: UTF8.self)): \(reason)")
  case .absent(nil):
    break
  case .pending(let reason):
    server.logger.info("ENOENT for \(String(decoding: bytes, as: UTF8.self)) for now: \(reason)")
    // Not as inode 0, which the kernel would remember.
    return fail(request, ENOENT)
  case .busy(let reason):
    server.logger.warning("EBUSY for \(String(decoding: bytes, as: UTF8.self)): \(reason)")
    return fail(request, EBUSY)
  }
  // Nobody waits for the answer any more, and will forget it.
  if fuse_reply_entry(request, &entry) == -ENOENT && entry.ino != 0 {
    server.superblock.forget(entry.ino, 1)
  }
}

private func getAttributes(_ request: fuse_req_t?, _ number: fuse_ino_t) {
  let server = FuseServer.serving(request)
  guard let inode = server.superblock[number] else { return fail(request, ENOENT) }
  var attributes = server.attributes(of: inode)
  fuse_reply_attr(request, &attributes, FuseServer.attributeTimeout(of: inode))
}

/// Bytes that an entry takes in an answer (`linux/fuse.h`: fuse_dirent) whose name has one byte.
private let minEntry = 32

private func readDirectory(_ request: fuse_req_t?, _ number: fuse_ino_t, _ size: Int, _ offset: off_t) {
  let server = FuseServer.serving(request)
  guard let directory = server.superblock[number] else { return fail(request, ENOENT) }
  guard case .directory = directory.content else { return fail(request, ENOTDIR) }
  withUnsafeTemporaryAllocation(of: CChar.self, capacity: size) { buffer in
    var used = 0
    for entry in server.superblock.entries(of: directory, from: offset, limit: size / minEntry + 1) {
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

extension FuseServer {
  static func serving(_ request: fuse_req_t?) -> FuseServer {
    serving(userData: fuse_req_userdata(request))
  }

  /// The server behind the `userdata` of a session, which keeps it alive.
  static func serving(userData: UnsafeMutableRawPointer?) -> FuseServer {
    guard let userData else { preconditionFailure("a session without its server") }
    return Unmanaged<FuseServer>.fromOpaque(userData).takeUnretainedValue()
  }
}
