import Bytes
import Checkpoints
import FoundationEssentials
import Glibc
import HuggingFace

/// An archive that `ArchiveWriter` made, as the model directory that it holds.
package final class ModelArchive: ModelFiles {
  let frames: ArchiveFrames
  let manifest: ArchiveManifest
  private let members: [String: ArchiveManifest.Member]
  /// Bytes of an element in each frame.
  private let widths: [UInt8]

  /// Bytes of the longest manifest: some hundred for each file of the model, and the text of a run's command line.
  private static let maxManifest = 8 << 20

  package var path: String { frames.file.path }
  /// Options that make the tree that the archive was made for.
  package var options: CheckpointOptions { manifest.origin.options }

  /// Reads the manifest; no file of the model.
  ///
  /// - Throws: `ArchiveError`, `ReadError`.
  package init(path: String) throws {
    frames = try ArchiveFrames(path: path)
    manifest = try ModelArchive.manifest(of: frames)
    guard (1...ArchiveFrames.maxFrame).contains(manifest.frameSize) else {
      throw ArchiveError.malformed(path: path, why: "its frames have \(manifest.frameSize) bytes")
    }
    var (members, widths): ([String: ArchiveManifest.Member], [UInt8]) = (
      [:], [UInt8](repeating: 1, count: frames.table.count)
    )
    var end = 0
    for member in manifest.members {
      guard staysBelow(member.name), members.updateValue(member, forKey: member.name) == nil else {
        throw ArchiveError.malformed(
          path: path, why: "a file in it is called \(member.name), or two are")
      }
      guard member.offset >= end else {
        throw ArchiveError.malformed(path: path, why: "\(member.name) is not behind the file in front of it")
      }
      end = try ModelArchive.check(member, manifest.frameSize, frames, &widths)
    }
    (self.members, self.widths) = (members, widths)
  }

  package func names() -> [String] { members.keys.sorted() }

  package func holds(_ name: String) -> Bool { members[name] != nil }

  package func open(_ name: String) throws(ReadError) -> any StoredFile {
    guard let member = members[name] else {
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
      let frame = frames.table.frame(at: position)
      let bytes = try frames.elements(frame, width: Int(widths[frame]))
      let start = position - frames.table.decompressed[frame]
      let count = min(bytes.count - start, buffer.count - done)
      bytes.withUnsafeBytes {
        UnsafeMutableRawBufferPointer(rebasing: buffer[done..<(done + count)])
          .copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[start..<(start + count)]))
      }
      done += count
    }
  }

  /// What the frames hold in `range` of the whole, which is as they hold it: between members, the tar archive itself.
  func contents(_ range: Range<Int>) throws(ReadError) -> [UInt8] {
    var bytes: [UInt8] = []
    var frame = frames.table.frame(at: range.lowerBound)
    while frame < frames.table.count, case let place = frames.table.places(frame).decompressed,
      place.lowerBound < range.upperBound
    {
      let isLast = frame == frames.table.count - 1
      let all = try frames.decompress(frame, limit: isLast ? Self.maxManifest : ArchiveFrames.maxFrame)
      let part = place.clamped(to: range)
      bytes += all[(part.lowerBound - place.lowerBound)..<(part.upperBound - place.lowerBound)]
      frame += 1
    }
    return bytes
  }

  /// What can be decoded of the frame that holds byte `offset` of a member, though its checksum is wrong; `nil` if nothing can.
  func remains(of member: ArchiveManifest.Member, at offset: Int) throws(ReadError) -> [UInt8]? {
    let frame = frames.table.frame(at: member.offset + offset)
    return try frames.remains(frame).map { BytePlanes.join($0, width: Int(widths[frame])) }
  }

  // MARK: the manifest

  private static func manifest(of frames: ArchiveFrames) throws -> ArchiveManifest {
    func malformed(_ why: String) -> ArchiveError { .malformed(path: frames.file.path, why: why) }
    let last: [UInt8]
    do throws(ReadError) {
      last = try frames.decompress(frames.table.count - 1, limit: maxManifest)
    } catch {
      guard case .damaged = error else { throw error }
      throw malformed("the frame of its manifest is damaged")
    }
    guard let header = TarHeader(last), header.name == Manifest.name else {
      throw malformed("its last member isn't \(Manifest.name)")
    }
    let text = last.dropFirst(TarHeader.blockCount)
    guard header.size <= text.count else { throw malformed("the size of its manifest is \(header.size)") }
    do {
      return try JSONDecoder().decode(ArchiveManifest.self, from: Data(text.prefix(header.size)))
    } catch { throw malformed("its manifest can't be read (\(decodingProblem(error)))") }
  }

  /// Each part must be whole frames of whole elements, within what the frames hold.
  ///
  /// - Returns: where the member ends.
  private static func check(
    _ member: ArchiveManifest.Member, _ frameSize: Int, _ frames: ArchiveFrames, _ widths: inout [UInt8]
  ) throws(ArchiveError) -> Int {
    let table = frames.table
    func malformed(_ why: String) -> ArchiveError {
      .malformed(path: frames.file.path, why: "\(member.name) \(why)")
    }
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
        let count = table.places(frame).decompressed.count
        guard count == frameSize || frame == last && count < frameSize else {
          throw malformed("has a frame of \(count) bytes")
        }
        guard count.isMultiple(of: part.width) else { throw malformed("has an element in two frames") }
        widths[frame] = UInt8(part.width)
      }
      start += part.size
    }
    guard start - member.offset == member.size else {
      throw malformed("has \(member.size) bytes and parts of \(start - member.offset)")
    }
    return start
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

  func verify() throws(ReadError) { try archive.frames.file.verify() }

  func sourceRanges(of range: Range<Int>) -> [SourceRange] {
    if range.isEmpty { return [] }
    let (table, start) = (archive.frames.table, member.offset)
    let first = table.places(table.frame(at: start + range.lowerBound)).compressed
    let last = table.places(table.frame(at: start + range.upperBound - 1)).compressed
    return [SourceRange(archive.frames.file, first.lowerBound..<last.upperBound)]
  }
}
