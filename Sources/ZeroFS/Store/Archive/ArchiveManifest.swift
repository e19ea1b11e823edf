/// The last member of an archive: what it holds, and what it was made from.
struct ArchiveManifest: Codable, Sendable {
  /// A file of the model.
  struct Member: Codable, Sendable {
    /// In the model's directory.
    let name: String
    /// Bytes.
    let size: Int
    /// CRC-32, eight hexadecimal digits.
    let crc32: String
    /// Where it starts in what the frames hold, in bytes.
    let offset: Int
    /// In order; a frame holds bytes of one part.
    let parts: [Part]
    let modified: Int
  }

  /// Bytes of a member whose elements have one width.
  struct Part: Codable, Sendable, Equatable {
    /// Bytes.
    let size: Int
    /// Bytes of an element; where it is more than 1, each frame holds the elements as planes.
    let width: Int
  }

  /// A tree that the archive was made for.
  struct Tree: Codable, Sendable {
    let files: Int
    let bytes: Int
  }

  let origin: Manifest.Origin
  let tree: Tree
  /// Bytes of a part that a frame holds, but the last one of the part.
  let frameSize: Int
  /// CRC-32 of `restore.py`, eight hexadecimal digits. Archives of 0.1 don't say.
  let restoreCRC32: String?
  let members: [Member]
}
