import Bytes
import FoundationEssentials
import Glibc

/// What a mount was made from, and whether it still is what it was: `.zerofs/source.json`.
package struct SourceReport: Codable, Sendable {
  struct File: Codable {
    let name: String
    /// In bytes, when it was opened.
    let size: Int
    /// ISO 8601 in UTC, when it was opened.
    let modified: String
    /// SHA-256 of the whole of a description, as `sha256sum` prints it.
    let sha256: String?
    /// SHA-256 of the header of a safetensors file, with the eight bytes of its length: names, types, shapes and places of all
    /// tensors. Not of their data, which a mount never reads as a whole.
    let headerSHA256: String?
    /// What happened to the file since; then there are no hashes.
    let changed: String?
  }

  package let path: String
  let files: [File]

  /// Reads descriptions and headers again, no tensor data.
  package init(_ directory: HuggingFaceDirectory) {
    path = directory.path
    files =
      directory.descriptions.map { SourceReport.file($0, directory.name(of: $0), isDescription: true) }
      + directory.files.map { SourceReport.file($0, directory.name(of: $0), isDescription: false) }
  }

  /// Files of a checkpoint, by their paths below `path`: sizes and times, no hashes.
  package init(path: String, _ files: [any StoredFile]) {
    self.path = path
    self.files = files.map { file in
      var changed: String?
      do { try file.verify() } catch { changed = "\(error)" }
      return File(
        name: file.path.dropping(prefix: path + "/") ?? file.path, size: file.size,
        modified: SourceReport.timestamp(file.modified), sha256: nil, headerSHA256: nil, changed: changed)
    }
  }

  package var json: String { reportJSON(self) }

  /// Whether both describe the same model, wherever it is and whenever it was written.
  package func isSame(as other: SourceReport) -> Bool { facts == other.facts }

  /// Of each file, what doesn't change when it is copied.
  package var facts: [[String?]] {
    files.map { [$0.name, "\($0.size)", $0.sha256, $0.headerSHA256, $0.changed] }
  }

  private static func file(_ file: any StoredFile, _ name: String, isDescription: Bool) -> File {
    var hash: String?
    var changed: String?
    do {
      let end = isDescription ? file.size : try SafetensorsHeader.end(of: file)
      hash = SHA256(try file.bytes(0..<end)).hexadecimal
      try file.verify()
    } catch {
      (hash, changed) = (nil, "\(error)")
    }
    return File(
      name: name, size: file.size,
      modified: timestamp(file.modified), sha256: isDescription ? hash : nil,
      headerSHA256: isDescription ? nil : hash, changed: changed)
  }

  private static func timestamp(_ time: timespec) -> String {
    let nanoseconds = String(1_000_000_000 + time.tv_nsec).dropFirst()
    return "\(timeText(time.tv_sec, "%Y-%m-%dT%H:%M:%S")).\(nanoseconds)Z"
  }
}
