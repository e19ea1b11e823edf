import Bytes
import FoundationEssentials
import Glibc

/// Where the files of a model are: a directory on disk, or an archive.
package protocol ModelFiles: Sendable {
  /// As given by the user.
  var path: String { get }
  /// Of all regular files there, in order.
  ///
  /// - Throws: `SourceError.unreadable`.
  func names() throws(SourceError) -> [String]
  /// Whether there is something of that name, be it a link to nothing.
  func holds(_ name: String) -> Bool
  func open(_ name: String) throws(ReadError) -> any StoredFile
  /// - Throws: `SourceError` for a symbolic link that is not to be followed.
  func checkLink(_ name: String) throws(SourceError)
}

extension ModelFiles {
  package func checkLink(_ name: String) throws(SourceError) {}

  /// Opens a file that the model needs.
  package func file(_ name: String) throws(SourceError) -> any StoredFile {
    try checkLink(name)
    do { return try open(name) } catch { throw .unreadable(error) }
  }
}

/// Files in a directory. Symbolic links lead to files of the same directory, or of the Hub cache that it is a snapshot of:
/// `snapshots/REV/x -> ../../blobs/HASH` (huggingface_hub `file_download.py`: `_create_symlink`). Other links would let whoever
/// made the directory choose files that only its reader may read.
package struct DiskDirectory: ModelFiles {
  package let path: String
  private let followsLinks: Bool

  /// - Parameter followsLinks: wherever they lead.
  /// - Throws: `SourceError` where there is no directory.
  package init(_ path: String, followsLinks: Bool = false) throws(SourceError) {
    var status = stat()
    guard stat(path, &status) == 0 else {
      let code = errno
      throw code == ENOENT
        ? DiskDirectory.hubID(path).map { .hubID($0, path: path) }
          ?? .unreadable(.io(path: path, offset: 0, errno: code))
        : .unreadable(.io(path: path, offset: 0, errno: code))
    }
    guard status.isDirectory else {
      throw .unreadable(.io(path: path, offset: 0, errno: ENOTDIR))
    }
    self.path = path
    self.followsLinks = followsLinks
  }

  package func names() throws(SourceError) -> [String] {
    try entries().filter { name in
      var status = stat()
      return stat("\(path)/\(name)", &status) == 0 && status.isRegularFile
    }
  }

  /// Names of everything in the directory, in order.
  package func entries() throws(SourceError) -> [String] {
    guard let directory = opendir(path) else { throw .unreadable(.io(path: path, offset: 0, errno: errno)) }
    defer { closedir(directory) }
    var names: [String] = []
    while let entry = readdir(directory) {
      let name = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
        pointer.withMemoryRebound(to: CChar.self, capacity: Int(NAME_MAX) + 1) { String(cString: $0) }
      }
      if name != "." && name != ".." { names.append(name) }
    }
    return names.sorted()
  }

  package func holds(_ name: String) -> Bool {
    var status = stat()
    return lstat("\(path)/\(name)", &status) == 0
  }

  package func open(_ name: String) throws(ReadError) -> any StoredFile {
    try SourceFile(path: "\(path)/\(name)")
  }

  package func checkLink(_ name: String) throws(SourceError) {
    let file = "\(path)/\(name)"
    guard let target = resolvedPath(file) else {
      let code = errno
      var status = stat()
      if code == ENOENT, lstat(file, &status) == 0,
        let target = try? FileManager.default.destinationOfSymbolicLink(atPath: file)
      {
        throw .danglingLink(path: file, target: target)
      }
      throw .unreadable(.io(path: file, offset: 0, errno: code))
    }
    guard !followsLinks, let directory = resolvedPath(path) else { return }
    let inside = [directory, DiskDirectory.blobs(of: directory)].compactMap { $0 }
    guard inside.contains(where: { target.utf8.starts(with: "\($0)/".utf8) }) else {
      throw .linkLeaves(path: file, target: target)
    }
  }

  /// `ROOT/blobs` of `ROOT/snapshots/REV`.
  private static func blobs(of directory: String) -> String? {
    let parts = directory.utf8.split(separator: UInt8(ascii: "/"))
    guard parts.count > 2, parts[parts.count - 2].elementsEqual("snapshots".utf8) else { return nil }
    return "/" + (parts.dropLast(2) + ["blobs".utf8[...]]).map { String($0) ?? "" }.joined(separator: "/")
  }

  /// `org/name`, as the Hub calls a model, of a path that is that, or the model's address.
  static func hubID(_ path: String) -> String? {
    let address = ["https://huggingface.co/", "https://hf.co/", "hf://"].lazy.compactMap {
      path.dropping(prefix: $0)
    }.first
    let parts = (address ?? path).split(separator: "/", omittingEmptySubsequences: false)
    guard address == nil ? parts.count == 2 : parts.count >= 2 else { return nil }
    guard parts.prefix(2).allSatisfy({ !$0.isEmpty && $0.first != "." }) else { return nil }
    return parts.prefix(2).joined(separator: "/")
  }
}
