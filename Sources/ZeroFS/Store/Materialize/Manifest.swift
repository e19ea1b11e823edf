import Bytes
import Checkpoints
import FoundationEssentials
import Glibc
import HuggingFace

/// `zerofs-manifest.json`: what a materialised tree or an archive holds, and what it was made from. Written last.
package struct Manifest: Codable, Sendable {
  static let name = "zerofs-manifest.json"

  package struct File: Codable, Sendable, Equatable {
    package let path: String
    /// Bytes.
    package let size: Int
    /// CRC-32 of all bytes, eight hexadecimal digits.
    package let crc32: String

    init(path: String, size: Int, checksum: CRC32) {
      (self.path, self.size, crc32) = (path, size, checksum.hexadecimal)
    }
  }

  /// What decides each byte of the files.
  package struct Origin: Codable, Sendable {
    /// The version of the program.
    package let zerofs: String
    /// The layout in one name, as directories below a mount are called.
    package let layout: String
    /// Options that make the same checkpoint from the same source.
    package let options: CheckpointOptions
    package let source: SourceReport

    package init(zerofs: String, layout: String, options: CheckpointOptions, source: SourceReport) {
      (self.zerofs, self.layout, self.options, self.source) = (zerofs, layout, options, source)
    }

    /// What a mount says of itself in `.zerofs`; `nil` for other directories.
    ///
    /// - Throws: `VerificationError.noCheckpoint` for a report that can't be read, or isn't one.
    package static func ofMount(_ root: String) throws(VerificationError) -> Origin? {
      let path = "\(root)/\(FileTree.reportDirectory)/\(reportName)"
      guard access(path, F_OK) == 0 else { return nil }
      do {
        return try JSONDecoder().decode(Origin.self, from: Data(try SourceFile.contents(of: path)))
      } catch let error as ReadError {
        throw .noCheckpoint(path: path, why: error.reason)
      } catch { throw .noCheckpoint(path: path, why: "not a report of zerofs (\(decodingProblem(error)))") }
    }

    /// In `.zerofs`.
    package static let reportName = "origin.json"
    package var json: String { reportJSON(self) }

    /// Whether files of both belong together. The source may have moved.
    func agrees(with other: Origin) -> Bool {
      layout == other.layout && options == other.options && source.isSame(as: other.source)
    }
  }

  package let origin: Origin
  /// By path.
  package let files: [File]

  init(origin: Origin, files: [File]) {
    self.origin = origin
    self.files = files.sorted { $0.path < $1.path }
  }

  /// The manifest of a materialised tree; `nil` where there is none.
  ///
  /// - Throws: `TargetError.inTheWay` for a file that isn't one.
  package static func of(tree root: String) throws(TargetError) -> Manifest? { try read("\(root)/\(name)") }

  /// Reads the manifest at `path`; `nil` where there is none.
  ///
  /// - Throws: `TargetError.inTheWay` for a file that isn't one.
  static func read(_ path: String) throws(TargetError) -> Manifest? {
    guard access(path, F_OK) == 0 else { return nil }
    do {
      return try JSONDecoder().decode(Manifest.self, from: Data(try SourceFile.contents(of: path)))
    } catch let error as ReadError {
      throw .inTheWay(path: path, why: error.reason)
    } catch {
      throw .inTheWay(path: path, why: "not a manifest of zerofs (\(decodingProblem(error)))")
    }
  }

  var file: VirtualFile { VirtualFile(reportJSON(self) + "\n") }
}
