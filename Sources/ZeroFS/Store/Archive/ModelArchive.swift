import Bytes
import Checkpoints
import FoundationEssentials
import Glibc
import HuggingFace
import Synchronization

/// An archive that `ArchiveWriter` made, as the model directory that it holds. Frames are decompressed when they are read; the
/// last ones are kept.
package final class ModelArchive: ModelFiles {
  let file: SourceFile
  let table: SeekTable
  let manifest: ArchiveManifest
  private let cache = Mutex<[(frame: Int, bytes: [UInt8])]>([])

  /// Decompressed frames that are kept: what several readers of strided tensors go back and forth between.
  private static let cachedFrames = 32
  /// Bytes of the longest frame.
  private static let longestFrame = 64 << 20

  package var path: String { file.path }
  /// Options that make the tree that the archive was made for.
  package var options: CheckpointOptions { manifest.origin.options }

  /// - Throws: `ArchiveError`, `ReadError`.
  package init(path: String) throws {
    file = try SourceFile(path: path)
    table = try SeekTable(of: file)
    guard table.count > 0 else { throw ArchiveError.malformed(path: path, why: "it holds nothing") }
    let last = try ModelArchive.decompress(table.count - 1, of: file, table)
    manifest = try ModelArchive.manifest(last, path)
    guard (1...ModelArchive.longestFrame).contains(manifest.frameSize) else {
      throw ArchiveError.malformed(path: path, why: "its frames have \(manifest.frameSize) bytes")
    }
    for member in manifest.members { try check(member) }
  }

  package func names() -> [String] { manifest.members.map(\.name).sorted() }

  package func holds(_ name: String) -> Bool { manifest.members.contains { $0.name == name } }

  package func open(_ name: String) throws(ReadError) -> any StoredFile {
    guard let member = manifest.members.first(where: { $0.name == name }) else {
      throw .io(path: "\(path)/\(name)", offset: 0, errno: ENOENT)
    }
    return ArchivedFile(self, member)
  }

  /// Whether the member `name` is `file`, byte for byte.
  ///
  /// - Throws: `ReadError` where either can't be read, or isn't what it was when it was opened.
  func holds(_ file: any StoredFile, as name: String, _ progress: ByteProgress) throws -> Bool {
    guard holds(name), case let member = try open(name), member.size == file.size else { return false }
    for start in stride(from: 0, to: file.size, by: manifest.frameSize) {
      let window = start..<min(start + manifest.frameSize, file.size)
      do throws(ReadError) {
        if try member.bytes(window) != file.bytes(window) { return false }
      } catch {
        guard case .damaged = error else { throw error }
        return false
      }
      try progress.advance(window.count)
    }
    try member.verify()
    try file.verify()
    return true
  }

  /// Fills `buffer` with bytes of a member.
  fileprivate func read(
    _ member: ArchiveManifest.Member, at offset: Int, into buffer: UnsafeMutableRawBufferPointer
  ) throws(ReadError) {
    guard offset >= 0, offset <= member.size - buffer.count else {
      throw .endOfFile(path: "\(path)/\(member.name)", offset: offset + buffer.count)
    }
    var done = 0
    while done < buffer.count {
      let position = member.offset + offset + done
      let frame = table.frame(at: position)
      let bytes = try elements(ofFrame: frame, member)
      let start = position - table.decompressed[frame]
      let count = min(bytes.count - start, buffer.count - done)
      bytes.withUnsafeBytes {
        UnsafeMutableRawBufferPointer(rebasing: buffer[done..<(done + count)])
          .copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[start..<(start + count)]))
      }
      done += count
    }
  }

  /// What can be decoded of the frame that holds byte `offset` of a member, though its checksum is wrong; `nil` if nothing can.
  func remains(of member: ArchiveManifest.Member, at offset: Int) throws(ReadError) -> [UInt8]? {
    let frame = table.frame(at: member.offset + offset)
    let count = table.decompressed[frame + 1] - table.decompressed[frame]
    let bytes = try file.bytes(table.compressed[frame]..<table.compressed[frame + 1])
    return ZstdFrame.decompress(bytes, count: count, ignoringChecksum: true).map {
      BytePlanes.join($0, width: width(ofFrame: frame, member))
    }
  }

  /// What a frame of a member holds, in the member's order.
  private func elements(ofFrame frame: Int, _ member: ArchiveManifest.Member) throws(ReadError) -> [UInt8] {
    let known = cache.withLock { cache -> [UInt8]? in
      guard let index = cache.lastIndex(where: { $0.frame == frame }) else { return nil }
      let found = cache.remove(at: index)
      cache.append(found)
      return found.bytes
    }
    if let known { return known }
    let planes = try ModelArchive.decompress(frame, of: file, table)
    let bytes = BytePlanes.join(planes, width: width(ofFrame: frame, member))
    cache.withLock { cache in
      // Another reader may have been faster.
      if cache.contains(where: { $0.frame == frame }) { return }
      if cache.count == ModelArchive.cachedFrames { cache.removeFirst() }
      cache.append((frame, bytes))
    }
    return bytes
  }

  private func width(ofFrame frame: Int, _ member: ArchiveManifest.Member) -> Int {
    var end = member.offset
    for part in member.parts {
      end += part.size
      if table.decompressed[frame] < end { return part.width }
    }
    return 1
  }

  /// - Throws: `ReadError.damaged` where the frame isn't what was written.
  static func decompress(_ frame: Int, of file: SourceFile, _ table: SeekTable) throws(ReadError) -> [UInt8] {
    let range = table.compressed[frame]..<table.compressed[frame + 1]
    let count = table.decompressed[frame + 1] - table.decompressed[frame]
    guard count <= longestFrame, let bytes = ZstdFrame.decompress(try file.bytes(range), count: count) else {
      throw .damaged(path: file.path, offset: range.lowerBound)
    }
    return bytes
  }

  private static func manifest(_ last: [UInt8], _ path: String) throws(ArchiveError) -> ArchiveManifest {
    func malformed(_ why: String) -> ArchiveError { .malformed(path: path, why: why) }
    let name = Array(Manifest.name.utf8)
    guard last.count > TarHeader.blockCount, last.starts(with: name + [0]) else {
      throw malformed("its last member isn't \(Manifest.name)")
    }
    let digits = String(decoding: last[124..<135], as: UTF8.self)
    guard let size = Int(digits, radix: 8), size >= 0, size <= last.count - TarHeader.blockCount else {
      throw malformed("the size of its manifest is \(digits)")
    }
    do {
      return try JSONDecoder().decode(
        ArchiveManifest.self, from: Data(last[TarHeader.blockCount..<(TarHeader.blockCount + size)]))
    } catch { throw malformed("its manifest can't be read (\(decodingProblem(error)))") }
  }

  /// Each part must be whole frames of whole elements, within what the frames hold.
  private func check(_ member: ArchiveManifest.Member) throws(ArchiveError) {
    func malformed(_ why: String) -> ArchiveError { .malformed(path: path, why: "\(member.name) \(why)") }
    var start = member.offset
    for part in member.parts {
      guard part.size >= 0, (1...8).contains(part.width), start >= 0, part.size <= table.size - start else {
        throw malformed("has a part of \(part.size) bytes at \(start)")
      }
      if part.size == 0 { continue }
      let (first, last) = (table.frame(at: start), table.frame(at: start + part.size - 1))
      guard table.decompressed[first] == start, table.decompressed[last + 1] == start + part.size else {
        throw malformed("doesn't start and end with a frame")
      }
      for frame in first...last {
        let count = table.decompressed[frame + 1] - table.decompressed[frame]
        guard count == manifest.frameSize || frame == last && count < manifest.frameSize else {
          throw malformed("has a frame of \(count) bytes")
        }
        guard count.isMultiple(of: part.width) else { throw malformed("has an element in two frames") }
      }
      start += part.size
    }
    guard start - member.offset == member.size else {
      throw malformed("has \(member.size) bytes and parts of \(start - member.offset)")
    }
  }
}

/// A file in an archive.
private final class ArchivedFile: StoredFile {
  private let archive: ModelArchive
  private let member: ArchiveManifest.Member

  init(_ archive: ModelArchive, _ member: ArchiveManifest.Member) {
    (self.archive, self.member) = (archive, member)
  }

  var path: String { "\(archive.path)/\(member.name)" }
  var size: Int { member.size }
  var modified: timespec { timespec(tv_sec: member.modified, tv_nsec: 0) }
  /// Only frames are mapped, not what they hold.
  var mapping: UnsafeRawBufferPointer? { nil }

  func read(at offset: Int, into buffer: UnsafeMutableRawBufferPointer) throws(ReadError) {
    try archive.read(member, at: offset, into: buffer)
  }

  func verify() throws(ReadError) { try archive.file.verify() }
}
