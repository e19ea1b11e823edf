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
      Differences are named by file, tensor and element, and end with status 13; so does what doesn't belong to a tree that \
      zerofs wrote. A tree of which --files chose some files ends with status 14.

      A tree that zerofs did not write, such as one that Megatron-DeepSpeed saved at step 0, is compared with --against: the \
      layout is what its `args` say, and which of its tensors agree with the model is what counts. Without --against a checkpoint \
      is held against itself: checksums, replicated parameters, tied copies, masters and what is rounded from them.
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

  func validate() throws { try Command.validate(jobs: jobs) }

  func run() throws {
    try reporting {
      var status = stat()
      guard stat(target, &status) == 0 else {
        throw VerificationError.noCheckpoint(path: target, why: errnoMessage(errno))
      }
      if status.isRegularFile {
        try verifyArchive()
      } else {
        try verifyTree()
      }
    }
  }

  private var workers: Int { jobs ?? Workers.cores }

  private func verifyArchive() throws {
    let verifier = ArchiveVerifier(try ModelArchive(path: target))
    let model = try against.flatMap { try ModelSource(path: $0, CheckpointOptions(), sourceOptions).files }
    let progress = ByteProgress(totalBytes: verifier.bytes)
    let findings = try ProgressDisplay(json: false).showing(progress) {
      try verifier.verify(against: model, jobs: workers, progress)
    }
    try report(findings)
    try output(
      line: "\(target): \(verifier.files) files of the model agree with \(against ?? "their checksums")")
  }

  private func verifyTree() throws {
    if let manifest = try Manifest.of(tree: target) {
      if against == nil { return try verify(manifest) }
      return try verifyModel(manifest.origin, isWritten: true)
    }
    let origin = try Manifest.Origin.ofMount(target)
    if origin == nil && against == nil, try TrainedCheckpoint.isOne(target) { return try verifyItself() }
    try verifyModel(origin, isWritten: false)
  }

  /// A checkpoint that a run saved, which no model tells anything of.
  private func verifyItself() throws {
    let options = try options.options()
    let checkpoint = try TrainedCheckpoint(target, tag: options.tag, like: options.like)
    warn(checkpoint.warnings)
    let verifier = TrainedVerifier(checkpoint)
    let progress = ByteProgress(totalBytes: verifier.bytes)
    let findings = try ProgressDisplay(json: false).showing(progress) {
      try verifier.verify(jobs: workers, progress)
    }
    try report(findings)
    try output(
      line:
        "\(target): \(checkpoint.sources.count) files agree with their checksums, and \(verifier.comparisons) tensors with their copies"
    )
  }

  private func verify(_ manifest: Manifest) throws {
    let verifier = TreeVerifier(target)
    // Its model may be gone, or another one.
    let tree = try? tree(manifest.origin)
    guard !manifest.files.isEmpty else {
      throw VerificationError.noCheckpoint(path: target, why: "its manifest names no file")
    }
    let progress = ByteProgress(totalBytes: manifest.bytes)
    let result = try ProgressDisplay(json: false).showing(progress) {
      try verifier.verify(manifest, tree, jobs: workers, progress)
    }
    try report(result.findings + verifier.strangers(to: manifest.files.map(\.path)))
    if let all = manifest.treeFiles ?? tree?.entries.count, result.files < all {
      throw VerificationError.partial(path: target, files: result.files, of: all)
    }
    try output(line: "\(target): \(result.files) files agree with the manifest")
  }

  /// - Parameters:
  ///   - origin: what the tree says that it was made from; `nil` for one of another program.
  ///   - isWritten: whether zerofs wrote it to disk, and nothing else belongs there.
  private func verifyModel(_ origin: Manifest.Origin?, isWritten: Bool) throws {
    let verifier = TreeVerifier(target)
    guard let path = against ?? origin?.source.path else { throw VerificationError.noModel(path: target) }
    let expected = try tree(path, origin)
    let progress = ByteProgress(totalBytes: expected.entries.reduce(0) { $0 + $1.file().dataBytes })
    let result = try ProgressDisplay(json: false).showing(progress) {
      try verifier.verify(expected, origin == nil ? .tensors : .bytes, jobs: workers, progress)
    }
    let strangers = isWritten ? try verifier.strangers(to: expected.entries.map(\.path)) : []
    let agreeing =
      origin == nil ? "\(result.agreeingTensors) tensors in \(result.files) files" : "\(result.files) files"
    if origin == nil && !result.findings.isEmpty {
      try output(line: "\(target): \(result.agreeingTensors) tensors agree with \(path)")
    }
    try report(result.findings + strangers)
    try output(line: "\(target): \(agreeing) agree with \(path)")
  }

  /// The tree that a manifest is of, if its model is where it was, and what it was.
  private func tree(_ origin: Manifest.Origin) throws -> FileTree? {
    let model = try source(origin.source.path, origin.options)
    return origin.source.isSame(as: model.source.report) ? try tree(model) : nil
  }

  /// - Parameter origin: `nil` of a tree of another program, which describes itself, and has what a run saves.
  private func tree(_ path: String, _ origin: Manifest.Origin?) throws -> FileTree {
    if let origin { return try tree(try source(path, origin.options)) }
    let model = try source(path, CheckpointOptions())
    let described = try TreeDescription(of: target, for: model.directory(for: "--against")).options
    let saved = try source(path, described)
    return try saved.planner().served().tree(modified: saved.source.modified)
  }

  private func source(_ path: String, _ recorded: CheckpointOptions) throws -> ModelSource {
    try ModelSource(path: path, options.options().over(recorded), sourceOptions)
  }

  private func tree(_ model: ModelSource) throws -> FileTree {
    try model.planner().served().writtenTree(modified: model.source.modified)
  }

  /// - Throws: `VerificationError.differs` where there are any.
  private func report(_ findings: [Finding]) throws {
    for finding in findings { try output(line: "\(finding)") }
    if !findings.isEmpty { throw VerificationError.differs(path: target, findings: findings.count) }
  }
}
