import Bytes
import MegatronExtension
import Run

/// The Python package that extends MDS, and what a model needs of it: the files below `.zerofs` (docs/extension.md).
struct MegatronExtensionFiles: Sendable {
  static let package = "zerofs_megatron"

  let spec: ExtensionSpec
  let isGuarded: Bool
  let facts: [ArgumentFact]

  /// Relative to `.zerofs`.
  var entries: [FileTree.Entry] {
    MegatronExtensionFiles.sources + [
      FileTree.Entry("extension.json") { [self] in VirtualFile(JSON.object(contents).lines() + "\n") }
    ]
  }

  /// The spec as the package reads it (zerofs_megatron/spec.py: `Spec.of`).
  private var contents: JSON.Members {
    var contents = spec.members
    if !isGuarded { contents.set("guard", .bool(false)) }
    contents.set(
      "facts",
      .object(
        JSON.Members(
          facts.map { fact in
            (
              fact.name,
              .object(
                JSON.Members([
                  ("value", fact.value.json), ("otherwise", .string(fact.otherwise)),
                  ("kind", .string(fact.kind == .stops ? "stops" : "loss")),
                ]))
            )
          })))
    return contents
  }

  private static let sources: [FileTree.Entry] = {
    var count = 0
    let files = UnsafeBufferPointer(start: megatron_extension_files(&count), count: count)
    return files.map { file in
      let text = String(
        decoding: UnsafeBufferPointer(start: file.bytes, count: file.count), as: UTF8.self)
      return FileTree.Entry("\(package)/\(String(cString: file.name))") { VirtualFile(text) }
    }
  }()
}

extension ArgumentFact {
  /// What the launcher can hold against a run's arguments: the model, and not the layout, which other directories of a mount and
  /// universal checkpoints have otherwise. What may be met in another way isn't among it.
  static func ofLauncher(_ model: MegatronModel) -> [ArgumentFact] {
    ofModel(model.geometry).filter {
      $0.isRequired && !$0.hasAlternative && !model.flavor.missingArguments.contains($0.name)
    }
  }
}

extension ArgumentValue {
  fileprivate var json: JSON {
    switch self {
    case .none, .object, .dtype: .null
    case .bool(let value): .bool(value)
    case .int(let value): .int(value)
    case .float(let value): .double(value)
    case .string(let value): .string(value)
    case .list(let values): .array(values.map(\.json))
    }
  }
}
