import Bytes
import Checkpoints
import Torch

/// Holds a checkpoint that a run saved against itself: checksums of its records, and numbers that stand in it twice.
package struct TrainedVerifier: Sendable {
  private let checkpoint: TrainedCheckpoint
  private let redundancies: [Redundancy]

  package init(_ checkpoint: TrainedCheckpoint) {
    self.checkpoint = checkpoint
    redundancies = checkpoint.redundancies
  }

  /// Bytes that are read.
  package var bytes: Int {
    checkpoint.sources.reduce(0) { $0 + $1.size } + redundancies.reduce(0) { $0 + $1.first.count }
  }
  package var comparisons: Int { redundancies.count }

  /// - Throws: `ReadError` of files that can't be read.
  package func verify(jobs: Int, _ progress: ByteProgress) throws -> [Finding] {
    let damaged = try Workers.run(jobs, checkpoint.sources, progress) { file in
      try damage(file, progress)
    }
    let different = try Workers.run(jobs, redundancies, progress) { pair -> Finding? in
      let differences = try ElementDifferences(pair.first, pair.second, elementBytes: pair.dtype.size)
      try progress.advance(pair.first.count)
      return differences.text(shape: pair.shape).map { Finding(checkpoint.tag, "\(pair.what): \($0)") }
    }
    return damaged.flatMap { $0 } + different.compactMap { $0 }
  }

  /// Records whose bytes aren't what the zip directory says of them; one without a checksum (a mount's) is as it is.
  private func damage(_ file: SourceFile, _ progress: ByteProgress) throws -> [Finding] {
    let path = file.path.dropping(prefix: checkpoint.path + "/") ?? file.path
    var findings: [Finding] = []
    for record in try TorchFile(file).records where record.crc != 0 {
      var checksum = CRC32()
      for start in stride(from: record.bytes.lowerBound, to: record.bytes.upperBound, by: 1 << 20) {
        let bytes = try file.bytes(start..<min(start + 1 << 20, record.bytes.upperBound))
        bytes.withUnsafeBytes { checksum.append($0) }
        try progress.advance(bytes.count)
      }
      if checksum.value != record.crc {
        findings.append(Finding(path, "is damaged: record \(record.name) has another checksum"))
      }
    }
    return findings
  }
}
