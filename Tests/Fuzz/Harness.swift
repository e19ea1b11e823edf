import Bytes
import Checkpoints
import Glibc
import HuggingFace
import Run
import Store
import Torch

/// What strangers can give zerofs, one kind of input each. An input is read as the program reads it, up to bytes of the files that
/// come of it: it may be refused by a `Failure`, and nothing else may happen.
enum Harness: String, CaseIterable {
  /// A safetensors file: its tensors, listed and read.
  case safetensors
  /// `model.safetensors.index.json` over two shards that are in order.
  case index
  /// config.json, the header of a safetensors file and the name of a layout, with NULs between: a checkpoint.
  case model
  /// An archive, its seek table among it.
  case archive
  /// `zerofs-manifest.json`, and the options that it records.
  case manifest
  /// A file that torch.save wrote: zip directory and pickle.
  case zip
  /// The pickle alone, in a zip file that is in order.
  case pickle
  /// Arguments of Megatron-DeepSpeed: flags, a script or a log.
  case arguments
  /// The same as arguments of HF Trainer.
  case trainer
  /// A DeepSpeed configuration.
  case deepspeed

  static let names = allCases.map(\.rawValue).joined(separator: "|")

  /// - Throws: `Failure`.
  func run(_ input: [UInt8], _ fixture: Fixture) throws {
    switch self {
    case .safetensors:
      try Self.read(
        HuggingFaceDirectory(MemoryModel(["config.json": Fixture.configuration, "model.safetensors": input])))
    case .index:
      try Self.read(
        HuggingFaceDirectory(
          MemoryModel([
            "config.json": Fixture.configuration, "model.safetensors.index.json": input,
            "a.safetensors": Fixture.shard, "sub/b.safetensors": Fixture.shard,
          ])))
    case .model:
      let parts = input.split(separator: 0, maxSplits: 2, omittingEmptySubsequences: false).map(Array.init)
      guard parts.count == 3, let name = LayoutName(String(decoding: parts[2], as: UTF8.self)) else { return }
      let store = MemoryModel(configuration: parts[0], header: parts[1])
      try Self.plan(HuggingFaceDirectory(store), name.options)
    case .archive: try Self.unpack(fixture.file(input))
    case .manifest: try Self.follow(fixture.manifest(input), fixture)
    case .zip: try Self.load(input)
    case .pickle: try Self.load(Fixture.torchFile(pickle: input))
    case .arguments:
      var options = CheckpointOptions()
      options.trainArguments = NamedText(String(decoding: input, as: UTF8.self), name: "input")
      try Self.plan(fixture.model, options)
    case .trainer: _ = try TrainingArguments(commandLine: String(decoding: input, as: UTF8.self))
    case .deepspeed:
      var options = CheckpointOptions()
      options.deepSpeedConfiguration = NamedText(String(decoding: input, as: UTF8.self), name: "input")
      try Self.plan(fixture.model, options)
      options.flavor = .hf
      try Self.plan(fixture.model, options)
    }
  }

  /// The first bytes of some tensors.
  private static func read(_ model: HuggingFaceDirectory) throws {
    for name in model.tensorNames.sorted().prefix(8) {
      let tensor = try model.tensor(name)
      _ = try VirtualFile(tensor.extents).bytes(0..<min(64, tensor.bytes))
    }
  }

  /// Names of layouts are bounded by the ranks that they have (`CheckpointResolver`), and so are inputs.
  private static func plan(_ model: HuggingFaceDirectory, _ options: CheckpointOptions) throws {
    let served = try CheckpointPlanner(model, options).served()
    _ = served.warnings
    guard served.ranks <= 64 else { return }
    for entry in served.writtenTree(modified: model.modified).entries.prefix(24) {
      let file = entry.file()
      for start in [0, file.count / 2, file.count - 64] {
        _ = try file.bytes(max(start, 0)..<min(max(start, 0) + 64, file.count))
      }
    }
  }

  private static func unpack(_ path: String) throws {
    let archive = try ModelArchive(path: path)
    for name in archive.names() {
      let file = try archive.open(name)
      _ = try file.bytes(0..<min(64, file.size))
      _ = file.sourceRanges(of: 0..<min(64, file.size))
    }
    try plan(HuggingFaceDirectory(archive), archive.options)
    let verifier = ArchiveVerifier(archive)
    guard verifier.bytes <= 1 << 20 else { return }
    _ = try verifier.verify(against: nil, jobs: 1, ByteProgress(totalBytes: verifier.bytes))
  }

  private static func follow(_ tree: String, _ fixture: Fixture) throws {
    guard let manifest = try Manifest.of(tree: tree) else { return }
    let progress = ByteProgress(totalBytes: manifest.bytes)
    _ = try TreeVerifier(tree).verify(manifest, nil, jobs: 1, progress)
    try plan(fixture.model, manifest.origin.options)
  }

  private static func load(_ bytes: [UInt8]) throws {
    let file = try TorchFile(MemoryFile("input.pt", bytes), size: bytes.count)
    for tensor in file.value.tensors.prefix(8) {
      let data = VirtualFile(tensor.extents)
      _ = try data.bytes(0..<min(64, data.count))
    }
  }
}
