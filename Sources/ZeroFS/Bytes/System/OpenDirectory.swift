import Glibc

/// A directory by its descriptor. Whatever its name comes to mean, this is the directory that was opened, and no symbolic link
/// below it is followed.
package final class OpenDirectory: Sendable {
  /// For messages.
  package let path: String
  package let descriptor: Int32

  /// Opens the directory that a user named, through links.
  ///
  /// - Throws: `ReadError.io`.
  package convenience init(path: String) throws(ReadError) {
    try self.init(path: path, in: AT_FDCWD, path, 0)
  }

  private init(path: String, in parent: Int32, _ name: String, _ flags: Int32) throws(ReadError) {
    let descriptor = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | flags)
    guard descriptor >= 0 else { throw .io(path: path, offset: 0, errno: errno) }
    (self.path, self.descriptor) = (path, descriptor)
  }

  deinit { close(descriptor) }

  /// The directory `name` in this one.
  ///
  /// - Throws: `ReadError.io`; ENOTDIR for a link.
  package func directory(_ name: some StringProtocol) throws(ReadError) -> OpenDirectory {
    try OpenDirectory(path: "\(path)/\(name)", in: descriptor, String(name), O_NOFOLLOW)
  }

  /// What is called `name`, of a link the link itself; `nil` where nothing is.
  package func status(_ name: String) -> stat? {
    var status = stat()
    return fstatat(descriptor, name, &status, AT_SYMLINK_NOFOLLOW) == 0 ? status : nil
  }

  /// What is in it, in order.
  ///
  /// - Throws: `ReadError.io`.
  package func names() throws(ReadError) -> [String] {
    // A descriptor of its own: reading moves it.
    let copy = openat(descriptor, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard copy >= 0, let directory = fdopendir(copy) else {
      if copy >= 0 { close(copy) }
      throw .io(path: path, offset: 0, errno: errno)
    }
    defer { closedir(directory) }
    var names: [String] = []
    while let entry = readdir(directory) {
      let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
        String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
      }
      if name != "." && name != ".." { names.append(name) }
    }
    return names.sorted()
  }

  /// Removes the file `name`, if it is there.
  package func remove(_ name: String) { unlinkat(descriptor, name, 0) }
}
