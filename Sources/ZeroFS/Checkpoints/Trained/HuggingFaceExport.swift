import Bytes
import Glibc
import HuggingFace
import Run

/// A trained checkpoint as the Hugging Face directory that `save_pretrained` would write of its model.
package struct HuggingFaceExport: ServedTree {
  /// Which of a checkpoint's values stand under the names of the weights.
  package enum Weights: RawRepresentable, Codable, Sendable, Equatable {
    /// The optimizer's fp32 weights, rounded once: what training holds.
    case masters
    /// Those that the run computes with, as they are.
    case parameters
    /// A state of the optimizer, under torch's name: `exp_avg`.
    case state(String)

    package init?(rawValue: String) {
      switch rawValue {
      case "masters": self = .masters
      case "parameters": self = .parameters
      default: self = .state(rawValue)
      }
    }

    package var rawValue: String {
      switch self {
      case .masters: "masters"
      case .parameters: "parameters"
      case .state(let name): name
      }
    }

    var stored: StoredValue {
      switch self {
      case .masters: .master
      case .parameters: .parameter
      case .state(let name): .state(name)
      }
    }

    /// What has to be read of a checkpoint.
    var need: TrainedCheckpoint.Need {
      switch self {
      case .masters: .masters
      case .parameters: .parameters
      case .state: .optimizer
      }
    }
  }

  package struct Settings: Sendable {
    package var weights = Weights.masters
    /// `nil` for what the run computes in, and fp32 of a state of the optimizer.
    package var dtype: DType?
    /// Whether parameters without a place are left out.
    package var drops = false
    package init() {}
  }

  let checkpoint: TrainedCheckpoint
  private let configuration: [UInt8]
  let dtype: DType
  /// In the order of `state_dict()`.
  private let names: [String]
  private let tensor: @Sendable (_ name: String) -> TensorExpression
  package let warnings: [String]

  /// - Throws: `TrainedError`, `ModelError`, `SourceError`.
  package init(_ checkpoint: TrainedCheckpoint, _ settings: Settings = Settings()) throws {
    self.checkpoint = checkpoint
    var dtype = settings.dtype ?? checkpoint.run.layout.dtype
    if case .state(let name) = settings.weights {
      let known = checkpoint.ranks[0].states
      guard known.contains(name) else {
        throw TrainedError.option(
          "--weights \(name)",
          why: "there are masters, parameters\(known.map { ", \($0)" }.joined()) in this checkpoint")
      }
      dtype = settings.dtype ?? .float32
    }
    self.dtype = dtype
    let value = settings.weights.stored
    let weights = try checkpoint.named(values: [value], dtype, drops: settings.drops)
    (configuration, names) = (weights.configuration.contents, weights.names)
    tensor = { weights.tensor($0, value) }
    warnings = checkpoint.warnings + weights.warnings
  }

  package var layoutName: LayoutName { .huggingFace(dtype) }

  package var ranks: Int { 1 }

  package func report(modified: timespec) -> any ServedReport {
    ExportReport(checkpoint.path, tag: checkpoint.tag, dtype: dtype, tree(modified: modified), warnings)
  }

  package func tree(modified: timespec) -> FileTree { FileTree(entries(), modified: modified) }

  /// The files, below `directory`.
  func entries(in directory: String = "") -> [FileTree.Entry] {
    let tensors = names.map { (name: $0, tensor: tensor($0).cast(to: dtype)) }
    let sharded = ShardedTensors(tensors)
    func entry(_ name: String, _ file: @escaping @Sendable () -> VirtualFile) -> FileTree.Entry {
      FileTree.Entry(directory + name, file)
    }
    return [
      entry("config.json") { [configuration] in VirtualFile(String(decoding: configuration, as: UTF8.self)) }
    ]
      + sharded.shards.map { shard in entry(shard.name) { SafetensorsFile(shard.tensors).file } }
      + (sharded.index.map { index in [entry("model.safetensors.index.json") { VirtualFile(index) }] } ?? [])
      + (checkpoint.like?.companions ?? []).map { file in
        let name = file.path.split(separator: "/").last.map(String.init) ?? file.path
        return FileTree.Entry(directory + name, whole: file)
      }
  }
}
