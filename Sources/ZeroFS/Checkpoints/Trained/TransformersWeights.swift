import Bytes
import HuggingFace
import Torch

/// What a script with a model of transformers trained: the names are Hugging Face's already.
enum TransformersWeights {
  /// - Throws: `TrainedError`.
  static func named(
    _ checkpoint: TrainedCheckpoint, like: ModelDescription?, _ value: StoredValue, _ dtype: DType
  ) throws(TrainedError) -> NamedWeights {
    guard let like else {
      throw TrainedError.option(
        "--as hf",
        why: "the checkpoint doesn't say what model it is of: give --like a directory with its config.json")
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
    return NamedWeights(
      configuration: like.text(setting: changes), names: names,
      tensor: { name in
        // Buffers have no masters.
        rank.value(of: name, value) ?? rank.value(of: name, .parameter) ?? .zeros([0], dtype)
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
