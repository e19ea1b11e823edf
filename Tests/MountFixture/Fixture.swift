import Bytes
import Glibc
import Logging
import Mount

/// `MountFixture SOURCES MOUNTPOINT [-f] [--cached] [--log-file PATH] [--files N] [--broken] [--note-reads PATH] [-o OPTION]`: mounts a tree over the
/// files `a.bin` and `b.bin` of SOURCES, as `zerofs mount` mounts a checkpoint.
@main
enum Fixture {
  static func main() {
    var words = Array(CommandLine.arguments.dropFirst().reversed())
    var (paths, options): ([String], [String]) = ([], [])
    var (isForeground, isCached, isBroken, files) = (false, false, false, 10)
    var (logFile, notes): (String?, String?)
    while let word = words.popLast() {
      switch word {
      case "-f": isForeground = true
      case "--cached": isCached = true
      case "--broken": isBroken = true
      case "--note-reads": notes = words.popLast()
      case "--log-file": logFile = words.popLast()
      case "--files": files = words.popLast().flatMap { Int($0) } ?? files
      case "-o": options += words.popLast().map { [$0] } ?? []
      default: paths.append(word)
      }
    }
    do {
      var mount = MountOptions(source: paths[0], isForeground: isForeground, logFile: logFile)
      (mount.isCached, mount.options) = (isCached, options)
      mount.sourceBytes = 5_000_000
      mount.layouts = layouts
      mount.reports = [FileTree.Entry("version") { VirtualFile("fixture\n") }]
      let point = try Mountpoint(paths[1], options: options, logger: LogDestination.standardError.logger())
      let tree = try tree(sources: paths[0], files: files, notes: notes)
      try (isBroken ? broken(tree) : tree).mount(at: point, mount)
    } catch {
      try? LogDestination.standardError.logger().error("\(error)")
      exit((error as? any Failure)?.exitStatus.rawValue ?? 1)
    }
  }

  /// `tree` with a file in front that can't be composed.
  static func broken(_ tree: FileTree) -> FileTree {
    let file = FileTree.Entry("a.pt") { fatalError("a bug of the fixture's") }
    return FileTree([file] + tree.entries, modified: tree.modified)
  }

  /// `copyN` and `duplicateN` are one directory, of N + 1 files; there is none of 13, nor of what starts with `refused`. The
  /// daemon doesn't survive `crash`. In `race` and `overflow` it has such a fault.
  static let layouts = LayoutResolver { name in
    if name == "crash" { fatalError("a bug of the fixture's") }
    Fault(rawValue: name)?.commit()
    if name.hasPrefix("refused") { return .refused(reason: "\(name) is refused") }
    let digits = name.drop { $0.isLetter }
    guard ["copy", "duplicate"].contains(name.prefix(name.count - digits.count)), let number = Int(digits)
    else { return .unknown }
    if number == 13 { return .refused(reason: "unlucky") }
    let entries = (0...number).map { index in
      FileTree.Entry("files/\(index)") { VirtualFile("\(number) \(index)\n") }
    }
    return .tree(
      canonicalName: "copy\(number)", FileTree(entries, modified: timespec(tv_sec: 1, tv_nsec: 0)))
  }

  /// bf16 elements of a row of `a.bin`.
  static let cols = 1024

  /// - Parameter notes: a file for a line about each read of `a.bin`.
  static func tree(sources: String, files: Int = 10, notes: String? = nil) throws -> FileTree {
    let a = try SourceFile(path: sources + "/a.bin")
    let noted: any ByteSource = notes.map { NotingSource(a, notes: $0) } ?? a
    let b = try SourceFile(path: sources + "/b.bin")
    let truncated = TensorExpression(
      source: try TruncatedSource(path: sources + "/truncated.bin"), offset: 0, shape: [1 << 19],
      dtype: .bfloat16)
    let tensor = TensorExpression(
      source: noted, offset: 0, shape: [a.size / 2 / cols, cols], dtype: .bfloat16)
    let small = TensorExpression(source: b, offset: 0, shape: [b.size / 2], dtype: .bfloat16)
    var entries = [
      FileTree.Entry("verbatim.pt") { VirtualFile([.literal(Array("head".utf8))] + tensor.extents) },
      FileTree.Entry("cast.pt") {
        VirtualFile([.literal(Array("head".utf8))] + tensor.cast(to: .float32).extents)
      },
      FileTree.Entry("strided.pt") { VirtualFile(tensor.columns(3..<700).cast(to: .float32).extents) },
      FileTree.Entry("truncated.pt") { VirtualFile([.literal(Array("head".utf8))] + truncated.extents) },
      FileTree.Entry("sub/dir/sparse.pt") {
        VirtualFile(
          [.literal(Array("head".utf8)), .zeros(count: 1 << 20)] + small.extents
            + [.zeros(count: 100), .literal([1]), .zeros(count: 3 << 20)])
      },
      FileTree.Entry("sub/small.pt") { VirtualFile(small.extents) },
      FileTree.Entry("sub/empty") { VirtualFile([]) },
      FileTree.Entry("zero_to_fp32.py", isExecutable: true) { VirtualFile("#!/bin/sh\necho executed\n") },
    ]
    for number in 0..<files {
      entries.append(FileTree.Entry("many/file_\(number)") { VirtualFile("file \(number)\n") })
    }
    return FileTree(entries, modified: timespec(tv_sec: 1_700_000_000, tv_nsec: 123_456_789))
  }
}

/// A file that is truncated after the last check and before the kernel copies: its mapping can't be read, and it does not tell.
private final class TruncatedSource: ByteSource {
  private let file: SourceFile

  init(path: String) throws {
    let descriptor = open(path, O_RDWR | O_CREAT, 0o600)
    ftruncate(descriptor, 1 << 20)
    file = try SourceFile(path: path)
    ftruncate(descriptor, 0)
    close(descriptor)
  }

  var name: String { file.name }
  var mapping: UnsafeRawBufferPointer? { file.mapping }
  func read(at offset: Int, into buffer: UnsafeMutableRawBufferPointer) throws(ReadError) {
    try file.read(at: offset, into: buffer)
  }
  func verify() throws(ReadError) {}
}

/// Appends the end of each read to a file, once it is done.
private final class NotingSource: ByteSource {
  private let file: SourceFile
  private let notes: Int32

  init(_ file: SourceFile, notes: String) {
    self.file = file
    self.notes = open(notes, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o600)
  }

  deinit { close(notes) }

  var name: String { file.name }
  var mapping: UnsafeRawBufferPointer? { file.mapping }
  func read(at offset: Int, into buffer: UnsafeMutableRawBufferPointer) throws(ReadError) {
    try file.read(at: offset, into: buffer)
    let line = "\(offset + buffer.count)\n"
    _ = line.utf8.withContiguousStorageIfAvailable { write(notes, $0.baseAddress, $0.count) }
  }
  func verify() throws(ReadError) { try file.verify() }
}
