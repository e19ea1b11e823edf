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
  func holds(_ name: String) -> Bool
  func open(_ name: String) throws(ReadError) -> any StoredFile
}

/// Files in a directory; symbolic links are followed, as a cache of Hugging Face's needs it.
package struct DiskDirectory: ModelFiles {
  package let path: String

  /// - Throws: `SourceError` where there is no directory.
  package init(_ path: String) throws(SourceError) {
    var status = stat()
    guard stat(path, &status) == 0 else { throw .unreadable(path: path, why: errnoMessage(errno)) }
    guard status.st_mode & S_IFMT == S_IFDIR else { throw .unreadable(path: path, why: "not a directory") }
    self.path = path
  }

  package func names() throws(SourceError) -> [String] {
    let names: [String]
    do { names = try FileManager.default.contentsOfDirectory(atPath: path) } catch {
      throw .unreadable(path: path, why: "can't be listed (\(error))")
    }
    return names.sorted().filter { name in
      var status = stat()
      return stat("\(path)/\(name)", &status) == 0 && status.st_mode & S_IFMT == S_IFREG
    }
  }

  package func holds(_ name: String) -> Bool { access("\(path)/\(name)", F_OK) == 0 }

  package func open(_ name: String) throws(ReadError) -> any StoredFile {
    try SourceFile(path: "\(path)/\(name)")
  }
}
