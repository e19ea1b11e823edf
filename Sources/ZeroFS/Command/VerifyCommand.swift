import ArgumentParser
import Bytes
import Checkpoints
import FoundationEssentials
import Glibc
import HuggingFace
import Store

/// `zerofs verify`: whether a tree, a mount or an archive still is what it should be.
struct VerifyCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "verify",
    abstract: "Check a checkpoint, a mount or an archive against its manifest, or against the model.",
    discussion: """
      Differences are named by file, tensor and element, and end with status 13.

      A tree that zerofs did not write, such as one that Megatron-DeepSpeed saved at step 0, is compared with --against: the \
      layout is what its `args` say, and which of its tensors agree with the model is what counts.
      """)

  @Argument(help: ArgumentHelp("A checkpoint's directory, a mount, or an archive.", valueName: "target"))
  var target: String

  @OptionGroup
  var sourceOptions: SourceOptions

  @Option(
    help: ArgumentHelp(
      "The Hugging Face model directory (or an archive of it) that it should agree with.", valueName: "hf_dir"
    ))
  var against: String?

  @OptionGroup
  var options: CheckpointFlags

  @Option(help: ArgumentHelp("Files read at a time. (default: the number of cores)", valueName: "n"))
  var jobs: Int?

  func run() throws {
    try reporting {
      var status = stat()
      guard stat(target, &status) == 0 else {
        throw VerificationError.noCheckpoint(path: target, why: String(cString: strerror(errno)))
      }
      if status.st_mode & S_IFMT == S_IFREG {
        try verifyArchive()
      } else {
        try verifyTree()
      }
    }
  }

  private var workers: Int { max(1, jobs ?? Workers.cores) }

  private func verifyArchive() throws {
    let verifier = ArchiveVerifier(try ModelArchive(path: target))
    let model = try against.map { try ModelSource(path: $0, sourceOptions).files }
    let progress = ByteProgress(totalBytes: verifier.bytes)
    let findings = try ProgressDisplay(json: false).showing(progress) {
      try verifier.verify(against: model, jobs: workers, progress)
    }
    try report(findings, "\(verifier.files) files of the model agree with \(against ?? "their checksums")")
  }

  private func verifyTree() throws {
    let verifier = TreeVerifier(target)
    let manifest = try Manifest.of(tree: target)
    let origin = try manifest?.origin ?? Manifest.Origin.ofMount(target)
    if let manifest, against == nil {
      let progress = ByteProgress(totalBytes: manifest.files.reduce(0) { $0 + $1.size })
      let result = try ProgressDisplay(json: false).showing(progress) {
        try verifier.verify(manifest, try? tree(manifest.origin), jobs: workers, progress)
      }
      return try report(result.findings, "\(result.files) files agree with the manifest")
    }
    guard let path = against ?? origin?.source.path else { throw VerificationError.noModel(path: target) }
    let model = try ModelSource(path: path, sourceOptions)
    let recorded = try origin?.options ?? TreeDescription(of: target, for: model.directory).options
    let expected = try tree(model, recorded)
    let progress = ByteProgress(totalBytes: expected.entries.reduce(0) { $0 + $1.file().dataBytes })
    let result = try ProgressDisplay(json: false).showing(progress) {
      try verifier.verify(expected, origin == nil ? .tensors : .bytes, jobs: workers, progress)
    }
    let agreeing =
      origin == nil ? "\(result.agreeingTensors) tensors in \(result.files) files" : "\(result.files) files"
    if origin == nil && !result.findings.isEmpty {
      print("\(target): \(result.agreeingTensors) tensors agree with \(path)")
    }
    try report(result.findings, "\(agreeing) agree with \(path)")
  }

  /// The tree that a manifest is of, if its model is where it was, and what it was.
  private func tree(_ origin: Manifest.Origin) throws -> FileTree? {
    let model = try ModelSource(path: origin.source.path, sourceOptions)
    return origin.source.isSame(as: SourceReport(model.directory)) ? try tree(model, origin.options) : nil
  }

  private func tree(_ model: ModelSource, _ recorded: CheckpointOptions) throws -> FileTree {
    let planner = try model.planner(options.options().over(recorded))
    return try planner.checkpoint().tree(modified: model.directory.modified)
  }

  private func report(_ findings: [Finding], _ agreement: String) throws {
    for finding in findings { print(finding) }
    if !findings.isEmpty { throw VerificationError.differs(path: target, findings: findings.count) }
    print("\(target): \(agreement)")
  }
}
