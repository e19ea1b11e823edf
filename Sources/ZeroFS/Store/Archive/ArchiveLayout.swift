import Bytes
import Glibc
import HuggingFace

/// What is in an archive, frame by frame, but for the manifest at its end: `restore.py`, then each file of the model as a member
/// of a tar archive.
struct ArchiveLayout: Sendable {
  /// A file of the model.
  struct Input: Sendable {
    let file: any StoredFile
    let name: String
    let parts: [ArchiveManifest.Part]
    /// Of its tar member.
    let header: [UInt8]
  }

  /// What one frame is to hold.
  enum Chunk: Sendable {
    case literal([UInt8])
    /// Bytes of a file, whole elements of `width` bytes.
    case elements(input: Int, Range<Int>, width: Int)
  }

  let inputs: [Input]

  /// Bytes of a frame: what reading one byte costs, and long enough for statistics of its own.
  static let frameSize = 1 << 20

  /// - Parameter path: of the archive, which is none of the model's files even if it is among them.
  /// - Throws: `ArchiveError.name`, `SourceError`.
  init(_ model: HuggingFaceDirectory, archive path: String) throws {
    let archive = resolvedPath(path)
    let companions = try model.companions().filter { archive == nil || resolvedPath($0.path) != archive }
    let descriptions = (model.descriptions + companions).map {
      ($0, [ArchiveManifest.Part(size: $0.size, width: 1)])
    }
    let weights = try model.files.map { ($0, try SafetensorsHeader(of: $0).parts($0.size)) }
    inputs = try (descriptions + weights).map { file, parts in
      let name = model.name(of: file)
      let header = TarHeader(
        name: Self.memberName(name, parts), size: file.size, modified: file.modified.tv_sec)
      return Input(file: file, name: name, parts: parts, header: try header.bytes)
    }
  }

  /// What the file `name` is called in the tar archive.
  static func memberName(_ name: String, _ parts: [ArchiveManifest.Part]) -> String {
    "hf/\(name)\(parts.contains { $0.width > 1 } ? RestoreProgram.suffix : "")"
  }

  /// The first member: the program that restores the others.
  static func program() throws(ArchiveError) -> [UInt8] {
    try member(RestoreProgram.name, RestoreProgram.text, mode: 0o755)
  }

  /// A member that is made of a text.
  static func member(_ name: String, _ text: String, mode: Int = 0o644) throws(ArchiveError) -> [UInt8] {
    let header = TarHeader(name: name, size: text.utf8.count, mode: mode)
    return try header.bytes + text.utf8 + [UInt8](repeating: 0, count: TarHeader.padding(text.utf8.count))
  }

  /// All frames, in order.
  func chunks() throws(ArchiveError) -> [Chunk] {
    try [.literal(Self.program())] + inputs.indices.flatMap(chunks)
  }

  /// The frames of a file: its header, what it holds, and zeros up to the next one.
  private func chunks(of index: Int) -> [Chunk] {
    let input = inputs[index]
    var chunks = [Chunk.literal(input.header)]
    var start = 0
    for part in input.parts {
      // A frame holds whole elements: the frame size is a multiple of every width.
      for offset in stride(from: start, to: start + part.size, by: Self.frameSize) {
        let end = min(offset + Self.frameSize, start + part.size)
        chunks.append(.elements(input: index, offset..<end, width: part.width))
      }
      start += part.size
    }
    let padding = TarHeader.padding(input.file.size)
    return chunks + (padding == 0 ? [] : [.literal([UInt8](repeating: 0, count: padding))])
  }

  /// What a frame is to hold, and the CRC of these bytes of the file.
  ///
  /// - Throws: `ReadError`.
  func contents(_ chunk: Chunk) throws(ReadError) -> (bytes: [UInt8], checksum: CRC32) {
    switch chunk {
    case .literal(let bytes): return (bytes, CRC32())
    case .elements(let input, let range, let width):
      let file = inputs[input].file
      let bytes = try file.bytes(range)
      try file.verify()
      var checksum = CRC32()
      bytes.withUnsafeBytes { checksum.append($0) }
      return (BytePlanes.split(bytes, width: width), checksum)
    }
  }
}

extension SafetensorsHeader {
  /// The file as parts of one width: the header, then runs of tensors whose elements are equally long.
  ///
  /// - Parameter size: of the file, in bytes.
  fileprivate func parts(_ size: Int) -> [ArchiveManifest.Part] {
    var parts: [ArchiveManifest.Part] = []
    func append(_ size: Int, _ width: Int) {
      if let last = parts.last, last.width == width {
        parts[parts.count - 1] = ArchiveManifest.Part(size: last.size + size, width: width)
      } else if size > 0 {
        parts.append(ArchiveManifest.Part(size: size, width: width))
      }
    }
    let sorted = tensors.values.sorted { $0.offset < $1.offset }
    var start = sorted.first?.offset ?? size
    append(start, 1)
    for (tensor, next) in zip(sorted, sorted.dropFirst().map(\.offset) + [size]) {
      append(next - start, DType(rawValue: tensor.dtype)?.size ?? 1)
      start = next
    }
    return parts
  }
}
