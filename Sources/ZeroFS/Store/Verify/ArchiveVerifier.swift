import Bytes
import HuggingFace

/// Holds an archive against its own checksums, or against the model that it was made from.
package struct ArchiveVerifier: Sendable {
  let archive: ModelArchive

  package init(_ archive: ModelArchive) { self.archive = archive }

  /// Bytes of the model's files.
  package var bytes: Int { archive.manifest.members.reduce(0) { $0 + $1.size } }
  package var files: Int { archive.manifest.members.count }

  /// Reads everything.
  ///
  /// - Parameter model: compared with, too, where it is given.
  /// - Throws: `ReadError` where the archive or the model can't be read at all.
  package func verify(against model: (any ModelFiles)?, jobs: Int, _ progress: ByteProgress) throws
    -> [Finding]
  {
    try Workers.run(jobs, archive.manifest.members, progress) { try verify($0, model, progress) }.flatMap {
      $0
    }
  }

  private func verify(
    _ member: ArchiveManifest.Member, _ model: (any ModelFiles)?, _ progress: ByteProgress
  ) throws -> [Finding] {
    let file = try archive.open(member.name)
    let other: (any StoredFile)?
    do throws(ReadError) { other = try model?.open(member.name) } catch {
      return [Finding(member.name, "is not in the model (\(error.reason))")]
    }
    if let other, other.size != file.size {
      return [Finding(member.name, "has \(file.size) bytes instead of \(other.size)")]
    }
    var findings: [Finding] = []
    var checksum = CRC32()
    var start = 0
    for part in member.parts {
      for offset in stride(from: start, to: start + part.size, by: archive.manifest.frameSize) {
        let window = offset..<min(offset + archive.manifest.frameSize, start + part.size)
        do throws(ReadError) {
          let bytes = try file.bytes(window)
          bytes.withUnsafeBytes { checksum.append($0) }
          if let other { findings += try differences(bytes, other, member, window) }
        } catch {
          guard case .damaged(_, let place) = error else { throw error }
          findings += try damage(
            member, window, other, "is damaged: the frame at byte \(place) of the archive")
        }
        try progress.advance(window.count)
      }
      start += part.size
    }
    try archive.file.verify()
    if findings.isEmpty && checksum.hexadecimal != member.crc32 {
      findings.append(Finding(member.name, "is damaged: its checksum is not the manifest's"))
    }
    return findings
  }

  /// A frame whose checksum is wrong: its elements, where there is a model to compare with and they can be decoded.
  private func damage(
    _ member: ArchiveManifest.Member, _ window: Range<Int>, _ model: (any StoredFile)?, _ what: String
  ) throws -> [Finding] {
    if let model, let bytes = try archive.remains(of: member, at: window.lowerBound) {
      let found = try differences(bytes, model, member, window)
      if !found.isEmpty { return found }
    }
    let names = tensors(of: try model ?? archive.open(member.name), in: window).map(\.name)
    let some = names.count > 3 ? "\(names.count) tensors from \(names[0])" : names.joined(separator: ", ")
    return [Finding(member.name, tensor: names.isEmpty ? nil : some, what)]
  }

  /// Elements of `window` in which `bytes` aren't those of the model.
  private func differences(
    _ bytes: [UInt8], _ model: any StoredFile, _ member: ArchiveManifest.Member, _ window: Range<Int>
  ) throws(ReadError) -> [Finding] {
    let expected = try model.bytes(window)
    if expected == bytes { return [] }
    var findings: [Finding] = []
    for tensor in tensors(of: model, in: window) {
      let part = tensor.bytes.clamped(to: window)
      func literal(_ all: [UInt8]) -> VirtualFile {
        VirtualFile([
          .literal(Array(all[(part.lowerBound - window.lowerBound)..<(part.upperBound - window.lowerBound)]))
        ])
      }
      let differences = try ElementDifferences(
        literal(expected), literal(bytes), elementBytes: tensor.dtype.size,
        firstElement: (part.lowerBound - tensor.bytes.lowerBound) / tensor.dtype.size)
      if let what = differences.text(shape: tensor.shape) {
        findings.append(Finding(member.name, tensor: tensor.name, what))
      }
    }
    return findings.isEmpty
      ? [Finding(member.name, "differs between bytes \(window.lowerBound) and \(window.upperBound)")]
      : findings
  }

  private struct Tensor {
    let name: String
    let bytes: Range<Int>
    let shape: [Int]
    let dtype: DType
  }

  /// The tensors that `window` of a safetensors file has bytes of, in their order.
  private func tensors(of file: any StoredFile, in window: Range<Int>) -> [Tensor] {
    guard file.path.hasSuffix(".safetensors"), let header = try? SafetensorsHeader(of: file) else {
      return []
    }
    return header.tensors.compactMap { name, tensor -> Tensor? in
      guard let dtype = DType(rawValue: tensor.dtype) else { return nil }
      let bytes = tensor.offset..<(tensor.offset + tensor.shape.reduce(dtype.size, *))
      return bytes.overlaps(window)
        ? Tensor(name: name, bytes: bytes, shape: tensor.shape, dtype: dtype) : nil
    }.sorted { $0.bytes.lowerBound < $1.bytes.lowerBound }
  }
}
