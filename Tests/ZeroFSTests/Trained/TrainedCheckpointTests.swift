import Foundation
import Testing

@testable import Bytes
@testable import Checkpoints
@testable import HuggingFace

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
        atPath: path.split(separator: "/").dropLast().reduce("") { $0 + "/" + $1 }, withIntermediateDirectories: true)
      try Data(try entry.file().bytes()).write(to: URL(fileURLWithPath: path))
    }
    return directory
  }

  /// Every file of a tree.
  private func contents(_ tree: FileTree) throws -> [String: [UInt8]] {
    Dictionary(uniqueKeysWithValues: try tree.entries.map { ($0.path, try $0.file().bytes()) })
  }

  static let layouts = [
    "tp1-pp1-dp1-zero1-pipe", "tp2-pp3-dp3-zero1-pipe", "tp2-pp1-dp2-zero2-nopipe", "tp1-pp1-dp5-zero3-nopipe",
    "tp2-pp1-dp1-zero0-nopipe", "tp1-pp2-dp2-zero0-pipe", "tp1-pp1-dp2-zero1-nopipe",
  ]

  @Test(arguments: layouts, ["llama", "qwen2"])
  func theModelComesBack(name: String, type: String) throws {
    let model = try TinyModel(type, shapes: TinyModel.llama(biases: type == "qwen2"))
    var options = options(name)
    options.moments = .zeros
    let tree = try CheckpointPlanner(model.model, options).checkpoint().tree(modified: timespec())
    let directory = try write(tree)
    let trained = try TrainedCheckpoint(directory.path)
    let export = try HuggingFaceExport(trained, like: try ModelDescription(path: model.directory.path))
    let files = try write(export.tree(modified: timespec()))
    let back = try HuggingFaceDirectory(path: files.path)
    #expect(back.tensorNames.sorted() == model.shapes.keys.sorted())
    for (name, shape) in model.shapes {
      #expect(try back.tensor(name, shape: shape).bytes() == model.model.tensor(name, shape: shape).bytes(), "\(name)")
    }
  }

  @Test(arguments: layouts, layouts)
  func thereAndBack(from: String, to: String) throws {
    let model = try TinyModel("llama", shapes: TinyModel.llama())
    var options = options(from)
    options.moments = .zeros
    let original = try CheckpointPlanner(model.model, options).checkpoint().tree(modified: timespec())
    let first = try write(original)
    let there = try CheckpointPlanner(.trained(try TrainedCheckpoint(first.path)), self.options(to)).checkpoint()
    let second = try write(there.tree(modified: timespec()))
    let back = try CheckpointPlanner(.trained(try TrainedCheckpoint(second.path)), self.options(from)).checkpoint()
    let (expected, actual) = (try contents(original), try contents(back.tree(modified: timespec())))
    #expect(expected.keys.sorted() == actual.keys.sorted())
    for (path, bytes) in expected where path.hasSuffix("optim_states.pt") || path.contains("layer_") {
      #expect(actual[path] == bytes, "\(path)")
    }
  }
}
