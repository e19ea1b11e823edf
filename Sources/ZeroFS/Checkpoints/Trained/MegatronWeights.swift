import Bytes
import HuggingFace
import Run

/// What MDS trained, under Hugging Face's names.
enum MegatronWeights {
  /// - Parameters:
  ///   - stored: the geometry of the files.
  ///   - drops: whether parameters without a place are left out.
  /// - Throws: `TrainedError.conflict`, `TrainedError.withoutPlace`, `ModelError`, `SourceError`.
  static func named(
    _ checkpoint: TrainedCheckpoint, _ stored: MegatronGeometry, _ model: RunModel, like: ModelDescription?,
    _ values: [StoredValue], _ dtype: DType, drops: Bool
  ) throws -> NamedWeights {
    let (configuration, table) = try described(checkpoint, stored, model, like: like, dtype)
    let geometry = try MegatronGeometry(
      table, layout: stored.layout, vocabulary: stored.vocabulary, isTied: stored.isTied)
    try check(model, geometry, like: like, path: checkpoint.path)
    let tensors = HuggingFaceTensors(geometry, vocabularyRows: table.configuration.vocabSize)
    let registered = table.family.modules(layers: table.configuration.layers).flatMap {
      ["\($0.stored).weight", "\($0.stored).bias"]
    }
    var lost: (names: [String], elements: Int) = ([], 0)
    if let value = values.first(where: { if case .state = $0 { false } else { true } }) {
      lost = try self.lost(tensors, geometry, checkpoint, value)
    }
    if !lost.names.isEmpty && !drops {
      throw TrainedError.withoutPlace(path: checkpoint.path, parameters: lost.names, elements: lost.elements)
    }
    let weights = NamedWeights(
      configuration: configuration, names: registered.filter { tensors.shape(of: $0) != nil },
      isTied: stored.isTied,
      tensor: { name, value in
        tensors.tensor(name, value) { checkpoint.parameter(geometry, $0, $1, tp: $2, value) }
      },
      warnings: lost.names.isEmpty
        ? []
        : [
          "--drop: \(lost.names.count) trained parameters are left out, for which the model has no place: "
            + lost.names.joined(separator: ", ")
        ])
    try weights.checkStates(
      values.compactMap { if case .state(let name) = $0 { name } else { nil } }, table,
      path: checkpoint.path)
    return weights
  }

  /// `config.json`, and the parameters that it means.
  private static func described(
    _ checkpoint: TrainedCheckpoint, _ stored: MegatronGeometry, _ model: RunModel, like: ModelDescription?,
    _ dtype: DType
  ) throws -> (ConfigurationFile, ParameterTable) {
    let padded = stored.vocabulary.padded
    let known = min(checkpoint.run.vocabularySize, padded)
    let size = max(known, like?.configuration.vocabularySize ?? (known > 0 ? known : padded))
    let text: String
    if let like {
      text = like.text(setting: [
        ("vocab_size", .int(size)), ("tie_word_embeddings", .bool(model.isTied)),
        (like.dtypeName, .string(dtype.torchName)),
      ])
    } else {
      guard let own = model.description(vocabularySize: size, dtype: dtype) else {
        throw unknownFamily(checkpoint.path)
      }
      text = own
    }
    let configuration = try ConfigurationFile(
      contents: Array(text.utf8), path: like?.configuration.path ?? model.path)
    var table = try ParameterTable(of: configuration, flavor: checkpoint.run.flavor ?? .alcf)
    table.isTied = model.isTied
    guard size <= padded else {
      throw TrainedError.conflict(
        like: like?.path ?? "", argument: "padded_vocab_size", has: "\(padded)", needs: "\(size) rows")
    }
    return (configuration, table)
  }

  private static func unknownFamily(_ path: String) -> TrainedError {
    .unsupported(
      path: path, what: "the model's family",
      why:
        "the run's args don't tell it, or no family is like this. Give --like a directory with its config.json."
    )
  }

  /// What the run computed is what the configuration says: that of `like`, or the one made for it.
  private static func check(
    _ model: RunModel, _ geometry: MegatronGeometry, like: ModelDescription?, path: String
  )
    throws(TrainedError)
  {
    guard let like else {
      let differs = ArgumentFact.ofModel(geometry).contains { !$0.isMet(by: model.arguments) }
      if differs || geometry.table.architecture.extensionNeed == .always { throw unknownFamily(path) }
      return
    }
    for fact in ArgumentFact.ofModel(geometry) where !fact.isMet(by: model.arguments) {
      throw .conflict(
        like: like.configuration.path, argument: fact.name,
        has: (model.arguments[fact.name] ?? .none).pythonDescription, needs: fact.flag)
    }
    // A spec is held against the description already.
    guard model.extensionSpec == nil else { return }
    let architecture = geometry.table.architecture
    if architecture.extensionNeed == .always {
      throw .conflict(
        like: like.configuration.path, argument: MegatronExtensionFiles.package, has: "none",
        needs: architecture.spec.summary)
    }
  }

  /// Parameters that the model has no place for and that aren't what their absence means; their data are read.
  private static func lost(
    _ tensors: HuggingFaceTensors, _ geometry: MegatronGeometry, _ checkpoint: TrainedCheckpoint,
    _ value: StoredValue
  ) throws -> (names: [String], elements: Int) {
    var (names, elements): ([String], Int) = ([], 0)
    for (module, name, content, constant) in tensors.withoutTensor {
      guard let entry = geometry.table.entries(of: module).first(where: { $0.name == name }) else { continue }
      let whole = entry.sharding.whole(content, geometry.parallelism) { tp in
        checkpoint.parameter(geometry, module, name, tp: tp, value)
      }
      let bytes = try VirtualFile(whole.cast(to: .float32).extents).bytes()
      let isConstant = bytes.withUnsafeBytes { $0.bindMemory(to: Float.self).allSatisfy { $0 == constant } }
      if isConstant { continue }
      let qualified = geometry.qualifiedName(module, name)
      if names.last != qualified { names.append(qualified) }
      elements += whole.count
    }
    return (names, elements)
  }
}

extension TrainedCheckpoint {
  /// What rank `tp` of the stage that has it holds of a parameter.
  ///
  /// - Precondition: `geometry` names parameters as the files do, whose check found it.
  func parameter(
    _ geometry: MegatronGeometry, _ module: MegatronModule, _ name: String, tp: Int, _ value: StoredValue
  ) -> TensorExpression {
    let qualified = geometry.qualifiedName(module, name)
    let rank = ranks[geometry.layout.modelParallelRank(tp: tp, pp: geometry.partition.stage(of: module))]
    guard let tensor = rank.value(of: qualified, value) else {
      preconditionFailure("\(path): no \(value) of \(qualified)")
    }
    return tensor
  }
}

extension PipelinePartition {
  /// The stage that owns a module; of a tied embedding the first.
  func stage(of module: MegatronModule) -> Int {
    switch module {
    case .embedding: return 0
    case .finalNorm, .outputLayer: return stages - 1
    case .layer(let index):
      return (0..<stages).first { layers(of: $0).contains(index) } ?? stages - 1
    }
  }
}
