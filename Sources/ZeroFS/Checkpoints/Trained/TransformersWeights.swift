import Bytes
import HuggingFace
import Torch

/// What a script with a model of transformers trained: the names are Hugging Face's already.
enum TransformersWeights {
  /// - Throws: `TrainedError`.
  static func named(
    _ checkpoint: TrainedCheckpoint, like: ModelDescription?, _ dtype: DType
  ) throws -> NamedWeights {
    guard let like else {
      throw TrainedError.option(
        "--like",
        why:
          "\(checkpoint.path) doesn't say what model it is of: give --like a directory with its config.json")
    }
    let rank = checkpoint.ranks[0]
    let module = rank.modelState["module"]?.namedItems ?? []
    let shared = Set((rank.modelState["shared_params"]?.namedItems ?? []).map(\.name))
    // Where nobody lists tied names, they are one tensor under two.
    var seen: Set<TensorPlace> = []
    var names: [String] = []
    for (name, value) in module {
      if shared.contains(name) { continue }
      if let place = value.tensor.flatMap(TensorPlace.init), !seen.insert(place).inserted { continue }
      if rank.value(of: name, .parameter) != nil { names.append(name) }
    }
    var changes = [(like.dtypeName, JSON.string(dtype.torchName))]
    if let family = ModelFamily(modelType: like.configuration.modelType),
      let embedding = family.embeddings.first(where: { $0.role == .wordEmbeddings }),
      let rows = rank.shape(of: embedding.stored + ".weight")?.first
    {
      changes.append(("vocab_size", .int(rows)))
    }
    let configuration = try ConfigurationFile(
      contents: Array(like.text(setting: changes).utf8), path: like.configuration.path)
    let isTied = shared.contains(where: ParameterOrder.isOutputLayer) || names.count < module.count
    // A module may call a tensor otherwise than the files do.
    let renamed = try ParameterOrder.renamed(configuration)
    let modules = Dictionary(names.map { (renamed[$0] ?? $0, $0) }) { first, _ in first }
    return NamedWeights(
      configuration: configuration, names: names.map { renamed[$0] ?? $0 }, isTied: isTied,
      tensor: { name, value in
        let name = modules[name] ?? name
        // Buffers have no masters.
        return rank.value(of: name, value) ?? rank.value(of: name, .parameter) ?? .zeros([0], dtype)
      }, warnings: [])
  }
}

/// Where a tensor of a file is: tied names have one place.
private struct TensorPlace: Hashable {
  let source: ObjectIdentifier
  let range: Range<Int>

  init?(_ tensor: TensorExpression) {
    guard tensor.count > 0, case .run(let run)? = tensor.elements.first else { return nil }
    source = ObjectIdentifier(run.source)
    range = run.offset..<(run.offset + tensor.bytes)
  }
}
