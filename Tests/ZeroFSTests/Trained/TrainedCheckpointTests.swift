import Foundation
import Testing

@testable import Bytes
@testable import Checkpoints
@testable import HuggingFace
@testable import Torch

/// What is written is read back, by the same rules: at any layout, and through another one.
@Suite struct TrainedCheckpointTests {
  private func options(_ name: String) -> CheckpointOptions {
    var options = LayoutName(name)!.options
    // As many padded rows in every layout.
    options.makeVocabSizeDivisibleBy = 8 / (options.tp ?? 1)
    return options
  }

  private func write(_ tree: FileTree) throws -> TemporaryDirectory {
    let directory = try TemporaryDirectory()
    for entry in tree.entries {
      let path = directory.path + "/" + entry.path
      try FileManager.default.createDirectory(
        atPath: path.split(separator: "/").dropLast().reduce("") { $0 + "/" + $1 },
        withIntermediateDirectories: true)
      try Data(try entry.file().bytes()).write(to: URL(fileURLWithPath: path))
    }
    return directory
  }

  /// Every tensor of a tree's files of parameters and optimizer states.
  private func tensors(_ tree: FileTree) throws -> [String: [UInt8]] {
    var found: [String: [UInt8]] = [:]
    for entry in tree.entries where entry.path.hasSuffix("optim_states.pt") || entry.path.contains("layer_") {
      let file = entry.file()
      for tensor in try TorchFile(VirtualFileSource(file, name: entry.path), size: file.count).value.tensors {
        found["\(entry.path) \(tensor.path)"] = try VirtualFile(tensor.extents).bytes()
      }
    }
    return found
  }

  static let layouts = [
    "tp1-pp1-dp1-zero1-pipe", "tp2-pp3-dp3-zero1-pipe", "tp2-pp1-dp2-zero2-nopipe",
    "tp1-pp1-dp5-zero3-nopipe",
    "tp2-pp1-dp1-zero0-nopipe", "tp1-pp2-dp2-zero0-pipe", "tp1-pp1-dp2-zero1-nopipe",
  ]

  @Test(arguments: layouts, ["qwen2", "gpt_neox"])
  func theModelComesBack(name: String, type: String) throws {
    let model = try TinyModel(type)
    var options = options(name)
    options.moments = .zeros
    let tree = try CheckpointPlanner(model.model, options).checkpoint().tree(modified: timespec())
    let directory = try write(tree)
    let trained = try TrainedCheckpoint(directory.path, like: model.directory.path)
    let export = try HuggingFaceExport(trained)
    let files = try write(export.tree(modified: timespec()))
    let back = try HuggingFaceDirectory(path: files.path)
    #expect(back.tensorNames.sorted() == model.shapes.keys.sorted())
    for (name, shape) in model.shapes {
      #expect(
        try back.tensor(name, shape: shape).bytes() == model.model.tensor(name, shape: shape).bytes(),
        "\(name)")
    }
  }

  /// Each layout by way of another, of another stage or engine.
  static let trips = layouts.indices.flatMap { index in
    [3].map { (layouts[index], layouts[(index + $0) % layouts.count]) }
  }

  @Test(arguments: trips)
  func thereAndBack(from: String, to: String) throws {
    let model = try TinyModel("llama")
    var options = options(from)
    options.moments = .zeros
    let original = try CheckpointPlanner(model.model, options).checkpoint().tree(modified: timespec())
    let first = try write(original)
    let there = try CheckpointPlanner(.trained(try TrainedCheckpoint(first.path)), self.options(to))
      .checkpoint()
    let second = try write(there.tree(modified: timespec()))
    let back = try CheckpointPlanner(.trained(try TrainedCheckpoint(second.path)), self.options(from))
      .checkpoint()
    let backTree = back.tree(modified: timespec())
    #expect(backTree.entries.map(\.path) == original.entries.map(\.path))
    let (expected, actual) = (try tensors(original), try tensors(backTree))
    #expect(expected.keys.sorted() == actual.keys.sorted())
    let different = expected.filter { actual[$0.key] != $0.value }.keys.sorted()
    #expect(different.isEmpty)
  }

  /// What a script saves, as MDS's, and as a script's again.
  @Test(arguments: ["llama", "qwen2", "gpt_neox"], ["tp2-pp3-dp3-zero1-pipe", "tp1-pp1-dp5-zero3-nopipe"])
  func throughMegatron(type: String, name: String) throws {
    let model = try TinyModel(type)
    func script(_ source: CheckpointSource) throws -> FileTree {
      var options = CheckpointOptions()
      (options.flavor, options.dp, options.zeroStage, options.moments) = (.hf, 2, 3, .zeros)
      options.like = model.directory.path
      return try CheckpointPlanner(source, options).checkpoint().tree(modified: timespec())
    }
    func trained(_ directory: TemporaryDirectory) throws -> CheckpointSource {
      .trained(try TrainedCheckpoint(directory.path, like: model.directory.path))
    }
    let original = try script(.model(model.model))
    let first = try write(original)
    var options = options(name)
    options.flavor = .alcf
    let megatron = try CheckpointPlanner(try trained(first), options).checkpoint()
    #expect(megatron.layoutName.description.hasPrefix(name.split(separator: "-")[0]))
    let second = try write(megatron.tree(modified: timespec()))
    let (expected, actual) = (try tensors(original), try tensors(script(try trained(second))))
    #expect(expected.count > 4 && expected.keys.sorted() == actual.keys.sorted())
    #expect(expected.filter { actual[$0.key] != $0.value }.keys.sorted().isEmpty)
  }
}

@Suite struct KnownGlobalsTests {
  private func call(_ module: String, _ name: String) -> PickleValue {
    .reduce(callable: .global(module: module, name: name), arguments: [.string("true")])
  }

  @Test(arguments: [
    ("os", "system"), ("builtins", "eval"), ("torch", "load"), ("deepspeed.runtime.zero", "main"),
  ])
  func callsAreFound(module: String, name: String) {
    let hostile = call(module, name)
    for value: PickleValue in [
      hostile, .list([hostile]), .dict(["a": .tuple([hostile])]), .build(.none, state: hostile),
      .new(class: .global(module: module, name: name), arguments: []), .set([hostile]),
    ] {
      #expect(KnownGlobals.foreign(in: value) == "\(module).\(name)")
    }
    // Its attributes are read one by one, and no object goes on.
    #expect(KnownGlobals.foreign(in: .dict(["args": hostile])) == nil)
    #expect(KnownGlobals.foreign(in: call("deepspeed.runtime.zero.config", "ZeroStageEnum")) == nil)
  }
}
