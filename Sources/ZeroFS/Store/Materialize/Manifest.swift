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

    /// Of what `agrees` compares: 16 digits.
    package var fingerprint: String {
      let files = source.facts.map { facts in facts.map { $0 ?? "-" }.joined(separator: " ") }
      let facts = [layout, reportJSON(options)] + files
      return String(SHA256(facts.joined(separator: "\n").utf8).prefix, digits: 16, radix: 16)
    }

    /// Whether files of both belong together. The source may have moved.
    func agrees(with other: Origin) -> Bool {
      layout == other.layout && options == other.options && source.isSame(as: other.source)
    }
  }

  package let origin: Origin
  /// How many files the tree has, of which `files` may be some (`--files`). Manifests of 0.1 don't say.
  package let treeFiles: Int?
  /// By path.
  package let files: [File]

  init(origin: Origin, treeFiles: Int?, files: [File]) {
    (self.origin, self.treeFiles) = (origin, treeFiles)
    self.files = files.sorted { $0.path < $1.path }
  }

  /// The manifest of a materialised tree; `nil` where there is none.
  ///
  /// - Throws: `ManifestError`.
  package static func of(tree root: String) throws(ManifestError) -> Manifest? {
    let path = "\(root)/\(name)"
    return access(path, F_OK) == 0 ? try Manifest(path: path) : nil
  }

  /// Reads the manifest at `path`.
  ///
  /// - Throws: `ManifestError` for a file that isn't one, or that says what no manifest does: a path out of the tree, a size that
  ///   no file has.
  init(path: String) throws(ManifestError) {
    do {
      self = try JSONDecoder().decode(Manifest.self, from: Data(try SourceFile.contents(of: path)))
    } catch let error as ReadError {
      throw ManifestError(path: path, why: error.reason)
    } catch {
      throw ManifestError(path: path, why: "not a manifest of zerofs (\(decodingProblem(error)))")
    }
    if let problem { throw ManifestError(path: path, why: "not a manifest of zerofs (\(problem))") }
  }

  /// What no manifest says.
  private var problem: String? {
    var (paths, bytes): (Set<String>, Int) = ([], 0)
    for file in files {
      guard staysBelow(file.path) else { return "the path \(file.path) leaves the tree" }
      guard paths.insert(file.path).inserted else { return "\(file.path) is in it twice" }
      let (sum, overflow) = bytes.addingReportingOverflow(file.size)
      guard file.size >= 0, !overflow else { return "\(file.path) has \(file.size) bytes" }
      bytes = sum
    }
    return nil
  }

  /// Bytes of all files.
  package var bytes: Int { files.reduce(0) { $0 + $1.size } }

  var file: VirtualFile { VirtualFile(reportJSON(self) + "\n") }
}

/// A file under the name of a manifest isn't one.
package struct ManifestError: Failure, Equatable {
  let path: String
  let why: String

  package var exitStatus: ExitStatus { .source }
  package var description: String {
    "\(path): \(why). Without it nothing says what the tree should be: write the tree again, or verify it --against HF_DIR "
      + "without this file."
  }
}
