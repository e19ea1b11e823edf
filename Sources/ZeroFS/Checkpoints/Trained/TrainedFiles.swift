import Bytes
import FoundationEssentials
import Glibc
import HuggingFace
import Torch

/// Where the files of one save are: a directory of DeepSpeed's below the one that runs save to.
struct TrainedFiles: Sendable {
  /// As given by the user, or the directory above it.
  let root: String
  let tag: String
  /// Whether the save is that which `latest` named, and stands for all of the run's.
  let isLatest: Bool

  /// Whether the parameters are whole, each in files of its own: what `ds_to_universal.py` makes.
  var isUniversal: Bool { TrainedFiles.holds("\(path)/zero") }
  var path: String { "\(root)/\(tag)" }

  static let universalLatest = "latest_universal"
  private static let maxTagBytes = 4096

  /// - Parameters:
  ///   - path: what a run saves to, or one step's directory in it.
  ///   - tag: instead of the one that `latest` names.
  /// - Throws: `TrainedError.noCheckpoint`.
  init(_ path: String, tag: String?) throws(TrainedError) {
    if let tag {
      guard TrainedFiles.isName(tag), TrainedFiles.holds("\(path)/\(tag)") else {
        throw .noCheckpoint(path: path, why: "there is no directory \(tag)")
      }
      (root, self.tag, isLatest) = (path, tag, false)
      return
    }
    for latest in [CheckpointNames.latest, TrainedFiles.universalLatest]
    where TrainedFiles.holds("\(path)/\(latest)") {
      let text: [UInt8]
      do { text = try SourceFile.contents(of: "\(path)/\(latest)", limit: TrainedFiles.maxTagBytes) } catch {
        throw .noCheckpoint(path: "\(path)/\(latest)", why: error.reason)
      }
      let tag = String(decoding: text, as: UTF8.self).filter { !$0.isWhitespace }
      guard TrainedFiles.isName(tag), TrainedFiles.holds("\(path)/\(tag)") else {
        throw .noCheckpoint(path: path, why: "`\(latest)` names \(tag), which isn't there")
      }
      (root, self.tag, isLatest) = (path, tag, latest == CheckpointNames.latest)
      return
    }
    let (directory, name) = splitPath(path)
    guard TrainedFiles.isSave(path), !directory.isEmpty else {
      throw .noCheckpoint(path: path, why: "there is no file `\(CheckpointNames.latest)`")
    }
    (root, self.tag, isLatest) = (directoryPath(of: path), String(name), false)
  }

  /// Whether `path` holds what DeepSpeed saves, rather than a model's directory, or a mount of a whole run as such directories.
  ///
  /// - Throws: `TrainedError.unreadable`.
  static func isCheckpoint(_ path: String) throws(TrainedError) -> Bool {
    if holds("\(path)/\(CheckpointNames.latest)") || holds("\(path)/\(universalLatest)") || isSave(path) {
      return true
    }
    return try steps(of: path).contains { !holds("\(path)/\($0.tag)/config.json") }
  }

  private static func isSave(_ path: String) -> Bool {
    [CheckpointNames.modelState(0, zeroRank: nil), CheckpointNames.modelState(0, zeroRank: 0)].contains {
      holds("\(path)/\($0).pt")
    }
  }

  private static func isName(_ tag: String) -> Bool {
    !tag.isEmpty && !tag.contains("/") && tag != ".." && tag != "."
  }

  static func holds(_ path: String) -> Bool { access(path, F_OK) == 0 }

  func holds(_ name: String) -> Bool { TrainedFiles.holds("\(path)/\(name).pt") }

  /// A file of the tag's directory, by its name without `.pt`.
  ///
  /// - Throws: `TrainedError.missing`, `TrainedError.unreadable`.
  func read(_ name: String) throws(TrainedError) -> (value: PickleValue, file: SourceFile) {
    let path = "\(self.path)/\(name).pt"
    let file: SourceFile
    do throws(ReadError) { file = try SourceFile(path: path) } catch {
      if case .io(_, _, ENOENT) = error { throw .missing(path: path, of: "the layout of \(tag)") }
      throw .unreadable(path: path, why: error.reason)
    }
    let value: PickleValue
    do throws(TorchFileError) { value = try TorchFile(file).value } catch {
      throw TrainedError(error, path: path)
    }
    if let name = KnownGlobals.foreign(in: value) {
      throw .unsupported(
        path: path, what: name,
        why: "a checkpoint has no use for it, and whoever loads the file would call it.")
    }
    return (value, file)
  }

  /// In order; none of what is no directory.
  ///
  /// - Throws: `TrainedError.unreadable`.
  static func names(in directory: String) throws(TrainedError) -> [String] {
    guard holds("\(directory)/.") else { return [] }
    do throws(SourceError) { return try DiskDirectory(directory).entries() } catch {
      throw .unreadable(path: directory, why: "its names can't be listed (\(error))")
    }
  }

  /// The saves of `root` that are named after a step, oldest first.
  ///
  /// - Throws: `TrainedError.unreadable`.
  static func steps(of root: String) throws(TrainedError) -> [(step: Int, tag: String)] {
    try names(in: root).compactMap { name in step(name).map { ($0, name) } }.sorted { $0.0 < $1.0 }
  }

  /// The step that the name of a save says.
  static func step(_ tag: String) -> Int? {
    tag.dropping(prefix: CheckpointNames.tagPrefix).flatMap { digits in
      Int(digits).flatMap { "\($0)" == digits ? $0 : nil }
    }
  }

  /// The step of the last save that was finished: DeepSpeed writes `latest` behind it.
  var newestStep: Int? { TrainedFiles.newest(of: root).flatMap(TrainedFiles.step) }

  private static func newest(of root: String) -> String? {
    (try? SourceFile.contents(of: "\(root)/\(CheckpointNames.latest)", limit: maxTagBytes)).map {
      String(decoding: $0, as: UTF8.self).filter { !$0.isWhitespace }
    }
  }
}
