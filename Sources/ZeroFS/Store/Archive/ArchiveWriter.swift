import Bytes
import Glibc
import HuggingFace
import Synchronization

/// Writes the files of a model as one archive: `zerofs materialize --compress`.
///
/// A tree is a function of its model, so the model is all that an archive holds: the fp32 masters are the weights, which are
/// there already, and the moments are zeros. It is a seekable zstd file whose frames hold a tar archive; weights are in it as
/// byte planes (`BytePlanes`), and a program that joins them again comes first.
package struct ArchiveWriter: Sendable {
  let tree: ArchiveManifest.Tree
  let origin: Manifest.Origin
  let path: String
  let level: Int?
  private let inputs: [Input]

  /// Bytes of a frame: what reading one byte costs, and long enough for statistics of its own.
  private static let frameSize = 1 << 20

  /// A file of the model.
  private struct Input: Sendable {
    let file: any StoredFile
    let name: String
    let parts: [ArchiveManifest.Part]
    let header: [UInt8]
  }

  /// What one frame is to hold.
  private enum Chunk: Sendable {
    case literal([UInt8])
    case elements(input: Int, Range<Int>, width: Int)

    var input: Int? { if case .elements(let input, _, _) = self { input } else { nil } }
    var literalCount: Int { if case .literal(let bytes) = self { bytes.count } else { 0 } }
  }

  /// - Parameters:
  ///   - checkpoint: the tree that the archive is made for.
  ///   - level: zstd's; `nil` for the fastest, which is the smallest for almost all weights.
  /// - Throws: `ArchiveError.level`, `ArchiveError.name`, `SourceError`.
  package init(
    _ model: HuggingFaceDirectory, _ checkpoint: FileTree, to path: String, origin: Manifest.Origin,
    level: Int?
  ) throws {
    if let level, !ZstdFrame.levels.contains(level) {
      throw ArchiveError.level(level, allowed: ZstdFrame.levels)
    }
    let descriptions = try (model.descriptions + model.companions()).map {
      ($0, [ArchiveManifest.Part(size: $0.size, width: 1)])
    }
    let weights = try model.files.map { ($0, try SafetensorsHeader(of: $0).parts($0.size)) }
    inputs = try (descriptions + weights).map { file, parts in
      let name = model.name(of: file)
      let isSplit = parts.contains { $0.width > 1 }
      guard
        let header = TarHeader.bytes(
          name: "hf/\(name)\(isSplit ? RestoreProgram.suffix : "")", size: file.size, mode: 0o644,
          modified: file.modified.tv_sec)
      else { throw ArchiveError.name(name) }
      return Input(file: file, name: name, parts: parts, header: header)
    }
    tree = ArchiveManifest.Tree(
      files: checkpoint.entries.count, bytes: checkpoint.entries.reduce(0) { $0 + $1.file().count })
    (self.path, self.origin, self.level) = (path, origin, level)
  }

  /// Bytes of the model's files.
  package var sourceBytes: Int { inputs.reduce(0) { $0 + $1.file.size } }
  /// Bytes of the tree that the archive stands for.
  package var treeBytes: Int { tree.bytes }

  /// What a sample of the frames says of all.
  package struct Estimate: Sendable {
    /// Of the archive.
    package let bytes: Int
    /// Bytes of the model for each second of one core.
    package let bytesPerSecond: Double
  }

  /// Compresses some frames and forgets them.
  ///
  /// - Throws: `ReadError`.
  package func estimate() throws -> Estimate {
    let start = ContinuousClock.now
    let compressor = FrameCompressor(level: level)
    let all = inputs.indices.flatMap(chunks).filter { if case .elements = $0 { true } else { false } }
    var (read, written) = (0, 0)
    for index in stride(from: 0, to: all.count, by: max(1, all.count / 16)) {
      let (bytes, _) = try contents(all[index])
      read += bytes.count
      written += compressor.compress(bytes).count
    }
    let seconds = (ContinuousClock.now - start) / .seconds(1)
    return Estimate(
      bytes: Int(Double(sourceBytes) * Double(written) / Double(max(read, 1))),
      bytesPerSecond: Double(read) / max(seconds, 1e-6))
  }

  /// Looks at the target before anything is written.
  ///
  /// - Returns: the size of the archive in bytes, if it is there already, whole and equal.
  /// - Throws: `TargetError`; `ReadError` of the source.
  package func existing(_ progress: ByteProgress) throws -> Int? {
    var status = stat()
    if lstat(path, &status) == 0 {
      guard let archive = try? ModelArchive(path: path), archive.manifest.origin.agrees(with: origin),
        try inputs.allSatisfy({ try archive.holds($0.file, as: $0.name, progress) })
      else {
        throw TargetError.inTheWay(path: path, why: "is there, and isn't the archive that would be written")
      }
      return Int(status.st_size)
    }
    let directory = TargetFile.split(path).directory
    var space = statvfs()
    if statvfs(directory.isEmpty ? "." : String(directory), &space) == 0, space.f_blocks > 0 {
      let (free, needed) = (Int(space.f_bavail) * Int(space.f_frsize), try estimate().bytes)
      guard needed <= free else {
        throw TargetError.tooSmall(path: path, neededBytes: needed, freeBytes: free)
      }
    }
    return nil
  }

  /// Writes the archive under another name, syncs it and gives it its own.
  ///
  /// - Returns: its size in bytes.
  /// - Throws: `TargetError`, `ReadError`; what was written is removed then.
  package func write(jobs: Int, _ progress: ByteProgress) throws -> Int {
    let target = TargetFile(path)
    return try target.replacing { descriptor in
      let output = Output(descriptor, path: target.partialPath)
      let queue = Mutex((next: 0, pending: [Chunk](), input: -1, error: (any Error)?.none))
      Workers.onThreads(jobs) {
        let compressor = FrameCompressor(level: level)
        while let (turn, chunk) = queue.withLock({ queue -> (Int, Chunk)? in
          while queue.pending.isEmpty && queue.input < inputs.count {
            queue.pending = (queue.input < 0 ? [program] : chunks(of: queue.input)).reversed()
            queue.input += 1
          }
          guard queue.error == nil, let chunk = queue.pending.popLast() else { return nil }
          queue.next += 1
          return (queue.next - 1, chunk)
        }) {
          do {
            let (bytes, checksum) = try contents(chunk)
            try output.append(
              compressor.compress(bytes), count: bytes.count, chunk.input.map { ($0, checksum) }, turn: turn)
            try progress.advance(chunk.input == nil ? 0 : bytes.count)
          } catch {
            output.fail()
            queue.withLock { if $0.error == nil || $0.error is Cancelled { $0.error = error } }
          }
        }
      }
      if let error = queue.withLock({ $0.error }) { throw error }
      let last = manifest(output)
      return try output.finish(last: FrameCompressor(level: level).compress(last), last.count)
    }
  }

  // MARK: frames

  private var program: Chunk {
    let text = Array(RestoreProgram.text.utf8)
    // Its name is not too long.
    let header = TarHeader.bytes(name: RestoreProgram.name, size: text.count, mode: 0o755, modified: 0) ?? []
    return .literal(header + text + [UInt8](repeating: 0, count: TarHeader.padding(text.count)))
  }

  /// The frames of a file: its header, what it holds, and zeros up to the next one.
  private func chunks(of input: Int) -> [Chunk] {
    let it = inputs[input]
    var chunks = [Chunk.literal(it.header)]
    var start = 0
    for part in it.parts {
      // A frame holds whole elements: the frame size is a multiple of every width.
      for offset in stride(from: start, to: start + part.size, by: Self.frameSize) {
        let end = min(offset + Self.frameSize, start + part.size)
        chunks.append(.elements(input: input, offset..<end, width: part.width))
      }
      start += part.size
    }
    let padding = TarHeader.padding(it.file.size)
    return chunks + (padding == 0 ? [] : [.literal([UInt8](repeating: 0, count: padding))])
  }

  /// What a frame is to hold, and the CRC of these bytes of the file.
  private func contents(_ chunk: Chunk) throws -> ([UInt8], CRC32) {
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

  private func manifest(_ output: Output) -> [UInt8] {
    var offset = program.literalCount
    var members: [ArchiveManifest.Member] = []
    for (index, input) in inputs.enumerated() {
      offset += TarHeader.blockCount
      members.append(
        ArchiveManifest.Member(
          name: input.name, size: input.file.size, crc32: output.checksum(of: index).hexadecimal,
          offset: offset,
          parts: input.parts, modified: input.file.modified.tv_sec))
      offset += input.file.size + TarHeader.padding(input.file.size)
    }
    let manifest = ArchiveManifest(origin: origin, tree: tree, frameSize: Self.frameSize, members: members)
    let text = Array((reportJSON(manifest) + "\n").utf8)
    let header = TarHeader.bytes(name: Manifest.name, size: text.count, mode: 0o644, modified: 0) ?? []
    return header + text + [UInt8](repeating: 0, count: TarHeader.padding(text.count)) + TarHeader.end
  }
}

/// The archive's file: frames that come from several threads, in their order.
// Unchecked: all members are used under `lock` only, or by one thread once the others have ended.
private final class Output: @unchecked Sendable {
  private let descriptor: Int32
  private let path: String
  private var lock = pthread_mutex_t()
  private var turned = pthread_cond_t()
  private var turn = 0
  private var hasFailed = false
  private var table = SeekTable()
  private var size = 0
  private var checksums: [Int: CRC32] = [:]

  init(_ descriptor: Int32, path: String) {
    (self.descriptor, self.path) = (descriptor, path)
    pthread_mutex_init(&lock, nil)
    pthread_cond_init(&turned, nil)
  }

  deinit {
    pthread_cond_destroy(&turned)
    pthread_mutex_destroy(&lock)
  }

  /// Waits for `turn`, then writes.
  ///
  /// - Parameter part: which file's bytes the frame holds, and their CRC.
  func append(_ frame: [UInt8], count: Int, _ part: (file: Int, checksum: CRC32)?, turn: Int) throws {
    pthread_mutex_lock(&lock)
    defer { pthread_mutex_unlock(&lock) }
    while self.turn != turn && !hasFailed { pthread_cond_wait(&turned, &lock) }
    if hasFailed { throw Cancelled() }
    try write(frame)
    table.append(compressed: frame.count, decompressed: count)
    if let (file, checksum) = part { checksums[file, default: CRC32()].append(checksum, count: count) }
    self.turn += 1
    pthread_cond_broadcast(&turned)
  }

  /// Nobody waits any longer.
  func fail() {
    pthread_mutex_lock(&lock)
    hasFailed = true
    pthread_cond_broadcast(&turned)
    pthread_mutex_unlock(&lock)
  }

  func checksum(of file: Int) -> CRC32 { checksums[file] ?? CRC32() }

  /// Writes the last frame and the seek table. Returns the size of the file.
  func finish(last: [UInt8], _ count: Int) throws -> Int {
    try append(last, count: count, nil, turn: turn)
    try write(table.bytes)
    return size
  }

  private func write(_ bytes: [UInt8]) throws {
    try bytes.withUnsafeBytes { try TargetFile.write($0, to: descriptor, at: size, path: path) }
    size += bytes.count
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
