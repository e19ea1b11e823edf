import Bytes
import Glibc
import Torch

/// Holds the files of a tree on disk, or in a mount, against what they should be: `zerofs verify`.
package struct TreeVerifier: Sendable {
  /// What is expected of a tree beside the weights.
  package enum Strictness: Sendable {
    /// Every byte, but zip checksums, which a mount leaves out.
    case bytes
    /// The tensors that come from the model: another program saved the tree.
    case tensors
  }

  package struct Report: Sendable {
    package internal(set) var files = 0
    /// Tensors that were compared by themselves, and agree.
    package internal(set) var agreeingTensors = 0
    package internal(set) var findings: [Finding] = []
  }

  let root: String

  package init(_ root: String) { self.root = root }

  private enum Opened {
    case success(SourceFile)
    case failure(Finding)
  }

  private func open(_ path: String) -> Opened {
    let place = "\(root)/\(path)"
    var status = stat()
    guard stat(place, &status) == 0 else {
      let code = errno
      let isThere = lstat(place, &status) == 0
      let what = isThere ? "can't be opened" : "is missing"
      return .failure(Finding(path, "\(what) (\(errnoMessage(code)))"))
    }
    guard status.isRegularFile else { return .failure(Finding(path, "is not a file but \(status.kind)")) }
    do { return .success(try SourceFile(path: place)) } catch {
      return .failure(Finding(path, "can't be opened (\(error.reason))"))
    }
  }

  /// What is in the tree, and is neither one of `files` nor the manifest. A link is no file.
  ///
  /// - Parameter files: relative to the root.
  /// - Throws: `ReadError` where a directory can't be listed.
  package func strangers(to files: some Sequence<String>) throws -> [Finding] {
    let footprint = TreeFootprint(Array(files) + [Manifest.name])
    return try footprint.strangers(in: OpenDirectory(path: root)).map { Finding($0.path, $0.why) }
  }

  // MARK: against the model

  /// Compares every file of `tree`.
  ///
  /// - Throws: `ReadError` where the model can't be read.
  package func verify(_ tree: FileTree, _ strictness: Strictness, jobs: Int, _ progress: ByteProgress) throws
    -> Report
  {
    let reports = try Workers.run(jobs, tree.entries, progress) { entry in
      try verify(entry, strictness, progress)
    }
    return reports.reduce(into: Report()) { sum, report in
      sum.files += report.files
      sum.agreeingTensors += report.agreeingTensors
      sum.findings += report.findings
    }
  }

  private func verify(_ entry: FileTree.Entry, _ strictness: Strictness, _ progress: ByteProgress) throws
    -> Report
  {
    let isTensors = entry.path.hasSuffix(".pt")
    if strictness == .tensors && !isTensors { return Report() }
    var report = Report(files: 1)
    let expected = entry.file()
    let actual: SourceFile
    switch open(entry.path) {
    case .success(let file): actual = file
    case .failure(let finding):
      report.findings.append(finding)
      return report
    }
    var difference: String?
    switch strictness {
    case .bytes:
      difference = try firstDifference(expected, actual, progress)
      guard let difference else { return report }
      if !isTensors || actual.size != expected.count {
        report.findings.append(Finding(entry.path, difference))
        return report
      }
    case .tensors: try progress.advance(expected.dataBytes)
    }
    let comparison = try TensorComparison(expected, actual, path: entry.path, padding: strictness == .bytes)
    report.agreeingTensors = comparison.agreeing
    report.findings = comparison.findings
    if report.findings.isEmpty, let difference {
      report.findings.append(Finding(entry.path, "\(difference), outside of tensors of the model"))
    }
    return report
  }

  /// Where the file on disk is not what is expected; `nil` where it is. A checksum that is zero is one left out.
  private func firstDifference(_ expected: VirtualFile, _ actual: SourceFile, _ progress: ByteProgress) throws
    -> String?
  {
    guard actual.size == expected.count else {
      return "has \(actual.size) bytes instead of \(expected.count)"
    }
    var reader = SequentialReader(expected)
    while case let start = reader.position, let part = try reader.next() {
      switch part {
      case .bytes(let bytes):
        let found = try actual.bytes(start..<(start + bytes.count))
        try progress.advance(bytes.count)
        if found.elementsEqual(bytes) || reader.isAtChecksum && found == [0, 0, 0, 0] { continue }
        let offset = zip(found, bytes).enumerated().first { $0.element.0 != $0.element.1 }?.offset ?? 0
        return "differs from byte \(start + offset) on"
      case .zeros(let count):
        if try !actual.isZero(start..<(start + count)) { return "has no zeros from byte \(start) on" }
      }
    }
    return nil
  }

  // MARK: against the manifest

  /// Compares every file with the checksum that the manifest has of it.
  ///
  /// - Parameter tree: the files as the model gives them, if it is there still: tells which elements of a damaged file differ.
  /// - Throws: `ReadError` of files that are there and can't be read.
  package func verify(_ manifest: Manifest, _ tree: FileTree?, jobs: Int, _ progress: ByteProgress) throws
    -> Report
  {
    let entries = Dictionary(uniqueKeysWithValues: (tree?.entries ?? []).map { ($0.path, $0) })
    let findings = try Workers.run(jobs, manifest.files, progress) { file -> [Finding] in
      let actual: SourceFile
      switch open(file.path) {
      case .success(let file): actual = file
      case .failure(let finding): return [finding]
      }
      guard actual.size == file.size else {
        return [Finding(file.path, "has \(actual.size) bytes instead of \(file.size)")]
      }
      guard try checksum(actual, 0..<actual.size, progress).hexadecimal != file.crc32 else { return [] }
      return try located(actual, file.path, entries[file.path])
    }
    return Report(files: manifest.files.count, findings: findings.flatMap { $0 })
  }

  /// What is wrong with a damaged file: by the model where it is there, else by the checksums of the file's own records.
  private func located(_ actual: SourceFile, _ path: String, _ entry: FileTree.Entry?) throws -> [Finding] {
    let damaged = Finding(path, "is damaged: its checksum is not the manifest's")
    guard path.hasSuffix(".pt") else { return [damaged] }
    if let entry {
      let findings = try TensorComparison(entry.file(), actual, path: path, padding: true).findings
      return findings.isEmpty ? [damaged] : findings
    }
    guard let file = try? TorchFile(actual) else { return [damaged] }
    let bad = try file.records.filter { record in
      let silent = ByteProgress(totalBytes: record.bytes.count)
      return try checksum(actual, record.bytes, silent).value != record.crc
    }
    var tensors: [Int: [String]] = [:]
    for tensor in file.value.tensors {
      guard let run = tensor.extents.lazy.flatMap(\.runs).first else { continue }
      if let index = bad.firstIndex(where: { $0.bytes.contains(run.offset) }) {
        tensors[index, default: []].append(tensor.path)
      }
    }
    let findings = bad.enumerated().map { index, record in
      Finding(
        path, tensor: Finding.some(tensors[index] ?? []),
        "is damaged: record \(record.name) has another checksum. --against HF_DIR finds the elements")
    }
    return findings.isEmpty ? [damaged] : findings
  }

  private func checksum(_ file: SourceFile, _ range: Range<Int>, _ progress: ByteProgress) throws -> CRC32 {
    var checksum = CRC32()
    var position = range.lowerBound
    while position < range.upperBound {
      let data = min(max(file.nextData(from: position) ?? range.upperBound, position), range.upperBound)
      checksum.append(zeros: data - position)
      let bytes = try file.bytes(data..<min(data + (1 << 20), range.upperBound))
      bytes.withUnsafeBytes { checksum.append($0) }
      try progress.advance(bytes.count)
      position = data + bytes.count
    }
    return checksum
  }
}
