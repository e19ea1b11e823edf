import FoundationEssentials
import Glibc

/// `zerofs-manifest.json`: what a materialised tree or an archive holds, and what it was made from. Written last.
public struct Manifest: Codable, Sendable {
  static let name = "zerofs-manifest.json"

  public struct File: Codable, Sendable, Equatable {
    public let path: String
    /// Bytes.
    public let size: Int
    /// CRC-32 of all bytes, eight hexadecimal digits.
    public let crc32: String

    init(path: String, size: Int, checksum: CRC32) {
      (self.path, self.size, crc32) = (path, size, checksum.hexadecimal)
    }
  }

  /// What decides each byte of the files.
  public struct Origin: Codable, Sendable {
    /// The version of the program.
    public let zerofs: String
    /// The layout in one name, as directories below a mount are called.
    public let layout: String
    /// Options of the command line that make the same checkpoint from the same source.
    public let options: [String]
    public let source: SourceReport

    public init(zerofs: String, layout: String, options: [String], source: SourceReport) {
      (self.zerofs, self.layout, self.options, self.source) = (zerofs, layout, options, source)
    }

    /// What a mount says of itself in `.zerofs`; `nil` for other directories.
    ///
    /// - Throws: `SourceError`.
    public static func ofMount(_ root: String) throws(SourceError) -> Origin? {
      let path = "\(root)/\(FileTree.reportDirectory)/\(reportName)"
      guard access(path, F_OK) == 0 else { return nil }
      do {
        return try JSONDecoder().decode(Origin.self, from: Data(try HuggingFaceDirectory.contents(of: path)))
      } catch let error as SourceError {
        throw error
      } catch { throw .malformedJSON(path: path, why: "not a report of zerofs (\(decodingProblem(error)))") }
    }

    /// In `.zerofs`.
    public static let reportName = "origin.json"
    public var json: String { reportJSON(self) }

    /// Whether files of both belong together. The source may have moved.
    func agrees(with other: Origin) -> Bool {
      layout == other.layout && options == other.options && source.isSame(as: other.source)
    }
  }

  public let origin: Origin
  /// By path.
  public let files: [File]

  init(origin: Origin, files: [File]) {
    self.origin = origin
    self.files = files.sorted { $0.path < $1.path }
  }

  /// The manifest of a materialised tree; `nil` where there is none.
  ///
  /// - Throws: `TargetError.inTheWay` for a file that isn't one.
  public static func of(tree root: String) throws(TargetError) -> Manifest? { try read("\(root)/\(name)") }

  /// Reads the manifest at `path`; `nil` where there is none.
  ///
  /// - Throws: `TargetError.inTheWay` for a file that isn't one.
  static func read(_ path: String) throws(TargetError) -> Manifest? {
    guard access(path, F_OK) == 0 else { return nil }
    do {
      return try JSONDecoder().decode(Manifest.self, from: Data(try HuggingFaceDirectory.contents(of: path)))
    } catch let error as SourceError {
      throw .inTheWay(path: path, why: "\(error)")
    } catch {
      throw .inTheWay(path: path, why: "not a manifest of zerofs (\(decodingProblem(error)))")
    }
  }

  var file: VirtualFile { VirtualFile(reportJSON(self) + "\n") }
}

extension CRC32 {
  var hexadecimal: String {
    let digits = String(value, radix: 16)
    return String(repeating: "0", count: 8 - digits.count) + digits
  }
}
