import Bytes
import HuggingFace

/// Holds an archive against its own checksums, or against the model that it was made from: every frame, also those that only
/// standard tools need.
package struct ArchiveVerifier: Sendable {
  let archive: ModelArchive

  package init(_ archive: ModelArchive) { self.archive = archive }

  private var members: [ArchiveManifest.Member] { archive.manifest.members }
  /// Bytes of the model's files.
  package var bytes: Int { members.reduce(0) { $0 + $1.size } }
  package var files: Int { members.count }

  /// Reads everything.
  ///
  /// - Parameter model: compared with, too, where it is given.
  /// - Throws: `ReadError` where the archive or the model can't be read at all.
  package func verify(against model: (any ModelFiles)?, jobs: Int, _ progress: ByteProgress) throws
    -> [Finding]
  {
    let tar = try (0...members.count).flatMap(between)
    return try tar
      + Workers.run(jobs, members, progress) {
        try MemberVerifier($0, archive, model).findings(progress)
      }.flatMap { $0 }
  }

  // MARK: what makes it a tar archive

  /// More than is between two members: a header, `restore.py` or the manifest.
  private static let maxBetween = 16 << 20

  /// What is in front of member `index`, or behind all of them.
  private func between(_ index: Int) throws -> [Finding] {
    let next = index < members.count ? members[index] : nil
    let before = index > 0 ? members[index - 1] : nil
    let start = before.map { $0.offset + $0.size } ?? 0
    let end = next?.offset ?? archive.frames.table.size
    let name = next?.name ?? Manifest.name
    guard end - start <= Self.maxBetween else {
      return [Finding(name, "is behind \(end - start) bytes that no file has")]
    }
    let bytes: [UInt8]
    do throws(ReadError) { bytes = try archive.contents(start..<end) } catch {
      guard case .damaged(_, let place) = error else { throw error }
      let what = place == 0 ? RestoreProgram.name : name
      return [Finding(what, "is damaged: the frame at byte \(place) of the archive, which tar needs")]
    }
    var rest = bytes[...]
    var findings: [Finding] = []
    if let before, !take(TarHeader.padding(before.size), of: &rest).allZero {
      findings.append(Finding(before.name, "is followed by other bytes than the zeros of a tar archive"))
    }
    if index == 0 { findings += restore(&rest) }
    let expected = next.map { ($0.size, ArchiveLayout.memberName($0.name, $0.parts)) }
    let header = TarHeader(take(TarHeader.blockCount, of: &rest))
    if let (size, path) = expected, header?.name != path || header?.size != size || !rest.isEmpty {
      findings.append(Finding(name, "has a damaged tar header: tar can't restore it"))
    }
    if next == nil {
      _ = take(header?.size ?? 0, of: &rest)
      if rest.count < TarHeader.end.count || !rest.allZero {
        findings.append(Finding(name, "isn't followed by the end of a tar archive"))
      }
    }
    return findings
  }

  /// The program in front of all members.
  private func restore(_ rest: inout ArraySlice<UInt8>) -> [Finding] {
    guard let header = TarHeader(take(TarHeader.blockCount, of: &rest)), header.name == RestoreProgram.name,
      case let text = take(header.size, of: &rest), text.count == header.size,
      take(TarHeader.padding(header.size), of: &rest).allZero
    else { return [Finding(RestoreProgram.name, "isn't there")] }
    var checksum = CRC32()
    text.withUnsafeBytes { checksum.append($0) }
    guard let expected = archive.manifest.restoreCRC32, expected != checksum.hexadecimal else { return [] }
    return [Finding(RestoreProgram.name, "is damaged: its checksum is not the manifest's")]
  }

  private func take(_ count: Int, of rest: inout ArraySlice<UInt8>) -> ArraySlice<UInt8> {
    defer { rest = rest.dropFirst(count) }
    return rest.prefix(count)
  }
}

extension ArraySlice<UInt8> {
  fileprivate var allZero: Bool { allSatisfy { $0 == 0 } }
}

/// Holds a file in an archive against its checksum, or against the model's.
private struct MemberVerifier {
  private let member: ArchiveManifest.Member
  private let archive: ModelArchive
  private let file: any StoredFile
  /// The file of the model that it should be.
  private let expected: (any StoredFile)?
  /// Why it can't be.
  private let obstacle: Finding?
  /// Tensors of a safetensors file, in their order.
  private let tensors: [Tensor]

  private struct Tensor {
    let name: String
    let bytes: Range<Int>
    let shape: [Int]
    let dtype: DType
  }

  init(_ member: ArchiveManifest.Member, _ archive: ModelArchive, _ model: (any ModelFiles)?)
    throws(ReadError)
  {
    (self.member, self.archive) = (member, archive)
    file = try archive.open(member.name)
    do throws(ReadError) {
      expected = try model?.open(member.name)
      obstacle = expected.flatMap {
        $0.size == member.size
          ? nil : Finding(member.name, "has \(member.size) bytes instead of \($0.size)")
      }
    } catch {
      (expected, obstacle) = (nil, Finding(member.name, "is not in the model (\(error.reason))"))
    }
    tensors = Self.tensors(of: expected ?? file)
  }

  func findings(_ progress: ByteProgress) throws -> [Finding] {
    if let obstacle { return [obstacle] }
    var findings: [Finding] = []
    var checksum = CRC32()
    var start = 0
    for part in member.parts {
      for offset in stride(from: start, to: start + part.size, by: archive.manifest.frameSize) {
        let window = offset..<min(offset + archive.manifest.frameSize, start + part.size)
        do throws(ReadError) {
          let bytes = try file.bytes(window)
          bytes.withUnsafeBytes { checksum.append($0) }
          findings += try differences(bytes, window)
        } catch {
          guard case .damaged(_, let place) = error else { throw error }
          findings += try damage(window, "is damaged: the frame at byte \(place) of the archive")
        }
        try progress.advance(window.count)
      }
      start += part.size
    }
    try archive.frames.file.verify()
    if findings.isEmpty && checksum.hexadecimal != member.crc32 {
      findings.append(Finding(member.name, "is damaged: its checksum is not the manifest's"))
    }
    return findings
  }

  /// A frame whose checksum is wrong: its elements, where there is a model to compare with and they can be decoded.
  private func damage(_ window: Range<Int>, _ what: String) throws(ReadError) -> [Finding] {
    if expected != nil, let bytes = try archive.remains(of: member, at: window.lowerBound) {
      let found = try differences(bytes, window)
      if !found.isEmpty { return found }
    }
    return [Finding(member.name, tensor: Finding.some(tensors(in: window).map(\.name)), what)]
  }

  /// Elements of `window` in which `bytes` aren't those of the model.
  private func differences(_ bytes: [UInt8], _ window: Range<Int>) throws(ReadError) -> [Finding] {
    guard let wanted = try expected?.bytes(window), wanted != bytes else { return [] }
    var findings: [Finding] = []
    for tensor in tensors(in: window) {
      // Whole elements: the archive's frames needn't end where those of the model do.
      let (size, start) = (tensor.dtype.size, tensor.bytes.lowerBound)
      let first = (max(window.lowerBound, start) - start + size - 1) / size
      let end = (min(window.upperBound, tensor.bytes.upperBound) - start) / size
      guard first < end else { continue }
      let part = (start + first * size - window.lowerBound)..<(start + end * size - window.lowerBound)
      let differences = try ElementDifferences(
        VirtualFile([.literal(Array(wanted[part]))]), VirtualFile([.literal(Array(bytes[part]))]),
        elementBytes: size, firstElement: first)
      if let what = differences.text(shape: tensor.shape) {
        findings.append(Finding(member.name, tensor: tensor.name, what))
      }
    }
    return findings.isEmpty
      ? [Finding(member.name, "differs between bytes \(window.lowerBound) and \(window.upperBound)")]
      : findings
  }

  private func tensors(in window: Range<Int>) -> ArraySlice<Tensor> {
    let first = tensors.partitionIndex { $0.bytes.upperBound > window.lowerBound }
    return tensors[first...].prefix { $0.bytes.lowerBound < window.upperBound }
  }

  /// A file whose header can't be read, damaged as it is, has none to name.
  private static func tensors(of file: any StoredFile) -> [Tensor] {
    guard file.path.hasSuffix(".safetensors"), let header = try? SafetensorsHeader(of: file) else {
      return []
    }
    return header.tensors.compactMap { name, tensor -> Tensor? in
      guard let dtype = DType(rawValue: tensor.dtype) else { return nil }
      let bytes = tensor.offset..<(tensor.offset + tensor.shape.reduce(dtype.size, *))
      return bytes.isEmpty ? nil : Tensor(name: name, bytes: bytes, shape: tensor.shape, dtype: dtype)
    }.sorted { $0.bytes.lowerBound < $1.bytes.lowerBound }
  }
}
