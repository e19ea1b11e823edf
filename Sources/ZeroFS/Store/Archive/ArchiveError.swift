import Bytes

/// What is wrong with an archive.
package enum ArchiveError: Failure, Equatable {
  /// It isn't one of zerofs', or was cut off.
  case malformed(path: String, why: String)
  /// A file's name doesn't fit in an archive.
  case name(String)

  package var exitStatus: ExitStatus {
    switch self {
    case .malformed, .name: .source
    }
  }

  package var description: String {
    switch self {
    case .malformed(let path, let why):
      "\(path): not an archive that zerofs materialize --compress made: \(why). Make it again, or fetch it again."
    case .name(let name):
      "\(name): an archive can't hold a file of so long a name. Shorten it, and its entries in the index."
    }
  }
}
