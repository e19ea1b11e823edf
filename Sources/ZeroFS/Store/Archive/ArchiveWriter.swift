import Bytes
import Glibc
import HuggingFace

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
  private let layout: ArchiveLayout

  /// - Parameters:
  ///   - checkpoint: the tree that the archive is made for.
  ///   - level: zstd's, one of `Zstd.levels`; `nil` for the fastest, which is the smallest for almost all weights.
  /// - Throws: `ArchiveError.name`, `SourceError`.
  package init(
    _ model: HuggingFaceDirectory, _ checkpoint: FileTree, to path: String, origin: Manifest.Origin,
    level: Int?
  ) throws {
    layout = try ArchiveLayout(model, archive: path)
    tree = ArchiveManifest.Tree(
      files: checkpoint.entries.count, bytes: checkpoint.entries.reduce(0) { $0 + $1.file().count })
    (self.path, self.origin, self.level) = (path, origin, level)
  }

  /// Bytes of the model's files.
  package var sourceBytes: Int { layout.inputs.reduce(0) { $0 + $1.file.size } }
  /// Bytes of the tree that the archive stands for.
  package var treeBytes: Int { tree.bytes }

  // MARK: before

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
    let all = try layout.chunks().filter { if case .elements = $0 { true } else { false } }
    var (read, written) = (0, 0)
    for index in stride(from: 0, to: all.count, by: max(1, all.count / 16)) {
      let (bytes, _) = try layout.contents(all[index])
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
      if let difference = try difference(progress) {
        throw TargetError.inTheWay(
          path: path, why: "is there, and isn't the archive that would be written: \(difference)")
      }
      return Int(status.st_size)
    }
    let directory = directoryPath(of: path)
    guard access(directory, W_OK | X_OK) == 0 else { throw TargetError.unwritable(path: path, errno: errno) }
    if let free = freeBytes(directory), case let needed = try estimate().bytes, needed > free {
      throw TargetError.tooSmall(path: path, neededBytes: needed, freeBytes: free)
    }
    return nil
  }

  /// In what the file that is there isn't the archive that would be written; `nil` if it is.
  private func difference(_ progress: ByteProgress) throws -> String? {
    let archive: ModelArchive
    do { archive = try ModelArchive(path: path) } catch let error as ArchiveError {
      if case .malformed(_, let why) = error { return why }
      return "\(error)"
    } catch let error as ReadError {
      return error.reason
    }
    guard archive.manifest.origin.agrees(with: origin) else {
      return
        "it is of layout \(archive.manifest.origin.layout), made from \(archive.manifest.origin.source.path)"
    }
    for input in layout.inputs where try !archive.holds(input.file, as: input.name, progress) {
      return "\(input.name) differs"
    }
    return nil
  }

  /// Whether the archive at `path`, or what is to become of it, is there after `seconds` at the latest.
  package static func isBegun(_ path: String, after seconds: Double) -> Bool {
    let deadline = ContinuousClock.now + .seconds(seconds)
    while true {
      var status = stat()
      let isThere = lstat(TargetFile.partialName(of: path), &status) == 0 || lstat(path, &status) == 0
      if isThere || ContinuousClock.now >= deadline { return isThere }
      usleep(200_000)
    }
  }

  // MARK: writing

  /// What is known of a frame once it is written.
  private struct Frame {
    let compressed: Int
    let decompressed: Int
    /// Of the file's bytes.
    let checksum: CRC32
  }

  /// Writes the archive under another name, syncs it and gives it its own.
  ///
  /// - Returns: its size in bytes.
  /// - Throws: `TargetError`, `ReadError`; what was written is removed then.
  package func write(jobs: Int, _ progress: ByteProgress) throws -> Int {
    let directory: OpenDirectory
    do { directory = try OpenDirectory(path: directoryPath(of: path)) } catch {
      throw TargetError(reading: error)
    }
    let target = TargetFile(String(splitPath(path).name), in: directory, isOneOfMany: false)
    let chunks = try layout.chunks()
    return try target.replacing { descriptor in
      let end = Turnstile(0)
      @Sendable func append(_ bytes: [UInt8], turn: Int) throws {
        try end.pass(turn) { end in
          try bytes.withUnsafeBytes { try target.write($0, to: descriptor, at: end) }
          end += bytes.count
        }
      }
      // Compressed by all, written in order.
      let frames = try Workers.run(
        jobs, Array(chunks.enumerated()), progress, context: { FrameCompressor(level: level) }
      ) { compressor, item in
        do {
          let (bytes, checksum) = try layout.contents(item.element)
          let frame = compressor.compress(bytes)
          try append(frame, turn: item.offset)
          if case .elements = item.element { try progress.advance(bytes.count) }
          return Frame(compressed: frame.count, decompressed: bytes.count, checksum: checksum)
        } catch {
          end.close()
          throw error
        }
      }
      let last = try manifest(chunks, frames)
      let frame = FrameCompressor(level: level).compress(last)
      var table = SeekTable()
      for frame in frames { table.append(compressed: frame.compressed, decompressed: frame.decompressed) }
      table.append(compressed: frame.count, decompressed: last.count)
      try append(frame + table.bytes, turn: frames.count)
      return table.compressed[table.count] + table.bytes.count
    }
  }

  /// The last member.
  private func manifest(_ chunks: [ArchiveLayout.Chunk], _ frames: [Frame]) throws -> [UInt8] {
    var checksums = [CRC32](repeating: CRC32(), count: layout.inputs.count)
    for (chunk, frame) in zip(chunks, frames) {
      if case .elements(let input, let range, _) = chunk {
        checksums[input].append(frame.checksum, count: range.count)
      }
    }
    var offset = try ArchiveLayout.program().count
    var members: [ArchiveManifest.Member] = []
    for (input, checksum) in zip(layout.inputs, checksums) {
      offset += TarHeader.blockCount
      members.append(
        ArchiveManifest.Member(
          name: input.name, size: input.file.size, crc32: checksum.hexadecimal, offset: offset,
          parts: input.parts, modified: input.file.modified.tv_sec))
      offset += input.file.size + TarHeader.padding(input.file.size)
    }
    let manifest = ArchiveManifest(
      origin: origin, tree: tree, frameSize: ArchiveLayout.frameSize,
      restoreCRC32: RestoreProgram.checksum.hexadecimal, members: members)
    return try ArchiveLayout.member(Manifest.name, reportJSON(manifest) + "\n") + TarHeader.end
  }
}
