import Bytes
import HuggingFace

/// The model as a run with a given layout holds it: its geometry, filled from the tensors of a source.
package final class MegatronModel: Sendable {
  package let geometry: MegatronGeometry
  /// The fork that saves it.
  package let flavor: MegatronFlavor
  /// What becomes of what MDS can't compute alone.
  package let extensionUse: ExtensionUse
  private let masters: Parameter.Masters
  /// Whose files the parameters come from; `nil` of a model that a run has trained.
  let directory: HuggingFaceDirectory?
  private let source: any ParameterSource
  /// Of the embedding and the output layer, where padding is filled with them.
  private let means: [MegatronModule: ColumnMean]

  package var layout: ParallelLayout { geometry.layout }
  package var vocabulary: PaddedVocabulary { geometry.vocabulary }
  package var isTied: Bool { geometry.isTied }
  package var configuration: ModelConfiguration { geometry.configuration }
  var table: ParameterTable { geometry.table }

  /// - Throws: `ModelError`, `LayoutError`, `SourceError`.
  package init(
    _ directory: HuggingFaceDirectory, layout: ParallelLayout, tokens: Int? = nil,
    vocabularyDivisor: Int = 128,
    vocabularyFilling: PaddedVocabulary.Filling = .zero, untie: Bool = false,
    masters: Parameter.Masters = .parameters, flavor: MegatronFlavor = .alcf, sequenceLength: Int? = nil,
    extensionUse: ExtensionUse = .guarded
  ) throws {
    let table = try ParameterTable(
      of: directory, untie: untie, flavor: flavor, sequenceLength: sequenceLength)
    if extensionUse == .none && table.architecture.extensionNeed == .always {
      let window = table.architecture.spec.window.map { ", sliding_window \($0.size)" } ?? ""
      throw ModelError.unsupported(
        feature: table.architecture.spec.summary + window,
        why:
          "MDS computes this with its extension only. Leave --extension none out, or train the model with --flavor hf.",
        path: directory.configurationFile.path)
    }
    let c = table.configuration
    guard vocabularyDivisor >= 1 && vocabularyDivisor < 1 << 24 else {
      throw LayoutError.vocabularyDivisor(vocabularyDivisor)
    }
    if untie && !table.isTied { throw LayoutError.alreadyUntied }
    geometry = try MegatronGeometry(
      table, layout: layout,
      vocabulary: PaddedVocabulary(
        rows: c.vocabSize, tokens: tokens, divisor: vocabularyDivisor, tp: layout.tp,
        filling: vocabularyFilling),
      isTied: table.isTied && !untie)
    self.extensionUse = extensionUse
    try directory.check(table)
    (self.masters, self.flavor, self.directory) = (masters, flavor, directory)
    source = HuggingFaceSource(directory: directory)
    means = MegatronModel.means(geometry, source)
  }

  /// The model that a run has trained, in another layout.
  init(_ source: any ParameterSource, _ geometry: MegatronGeometry, flavor: MegatronFlavor) {
    (self.source, self.geometry, self.flavor) = (source, geometry, flavor)
    (masters, directory, extensionUse) = (.source, nil, .guarded)
    means = MegatronModel.means(geometry, source)
  }

  private static func means(_ geometry: MegatronGeometry, _ source: any ParameterSource)
    -> [MegatronModule: ColumnMean]
  {
    var means: [MegatronModule: ColumnMean] = [:]
    guard geometry.vocabulary.filling == .mean else { return means }
    for module in geometry.allModules {
      for entry in geometry.table.entries(of: module) {
        guard case .vocabulary = entry.sharding, !entry.sharding.isVocabularyVector else { continue }
        let content = source.content(0, of: entry, in: module, .parameter)
        means[module] = ColumnMean(content.cast(to: DType.common(to: [content.dtype])))
      }
    }
    return means
  }

  // MARK: - Parameters

  /// The parameters of `module`, relative to it, in `named_parameters()` order.
  func parameters(of module: MegatronModule, tp: Int) -> [Parameter] {
    table.entries(of: module).map { parameter($0.name, $0, in: module, geometry.parallelism, tp: tp) }
  }

  /// The parameters of one rank, in `named_parameters()` order.
  package func parameters(tp: Int, pp: Int) -> [Parameter] {
    geometry.modules(of: pp).flatMap { module in
      table.entries(of: module).map {
        parameter(geometry.qualifiedName(module, $0.name), $0, in: module, geometry.parallelism, tp: tp)
      }
    }
  }

  /// Every parameter whole, over all tensor-parallel ranks and pipeline stages, without vocabulary padding; DeepSpeed leaves the
  /// padding of a bias of the vocabulary as it is.
  func wholeParameters() -> [(parameter: Parameter, sharding: Sharding)] {
    func whole(_ vocabulary: PaddedVocabulary) -> TensorParallelism {
      TensorParallelism(size: 1, keyValueHeads: configuration.keyValueHeads, vocabulary: vocabulary)
    }
    let (unpadded, padded) = (whole(PaddedVocabulary(unpadded: vocabulary.size)), whole(vocabulary))
    return geometry.allModules.flatMap { module in
      table.entries(of: module).map {
        (
          parameter(
            geometry.qualifiedName(module, $0.name), $0, in: module,
            $0.sharding.isVocabularyVector ? padded : unpadded, tp: 0), $0.sharding
        )
      }
    }
  }

  private func parameter(
    _ name: String, _ entry: ParameterTable.Entry, in module: MegatronModule,
    _ parallelism: TensorParallelism,
    tp: Int
  ) -> Parameter {
    func part(_ value: StoredValue) -> TensorExpression {
      expression(entry, in: module, value, parallelism, tp: tp)
    }
    let weight = part(.parameter)
    guard source.hasMasters else {
      return Parameter(name: name, source: weight, dtype: layout.dtype, masters: masters)
    }
    let master = part(.master)
    return Parameter(
      name: name, tensor: weight.dtype == layout.dtype ? weight : master.cast(to: layout.dtype),
      master: master,
      states: source.states.map { ($0, part(.state($0))) })
  }

  /// Rank `tp`'s part of what the source holds.
  private func expression(
    _ entry: ParameterTable.Entry, in module: MegatronModule, _ value: StoredValue,
    _ parallelism: TensorParallelism, tp: Int
  ) -> TensorExpression {
    let sharding = entry.sharding
    let contents = sharding.contents.indices.map { source.content($0, of: entry, in: module, value) }
    let shape = sharding.shape(parallelism)
    // One of several parts may be folded, in fp32.
    let dtype = DType.common(to: contents.map(\.dtype))
    var pieces = sharding.blocks(parallelism, tp: tp).map {
      ($0.part, contents[$0.content].cast(to: dtype).block($0.whole))
    }
    if case .vocabulary = sharding, !sharding.isVocabularyVector, let mean = means[module],
      value == .parameter || value == .master
    {
      let padding = pieces[0].0.rows.count..<shape[0]
      if !padding.isEmpty {
        pieces.append(
          (
            .rows(padding, of: shape),
            .repeatingRow(of: mean, rows: padding.count, cols: shape[1], dtype: dtype)
          ))
      }
    }
    return .assembling(shape, pieces, dtype: dtype)
  }
}

/// What becomes of a model that MDS can't compute alone (docs/extension.md).
package enum ExtensionUse: String, Codable, Sendable, CaseIterable {
  /// It is served, and its checkpoints can't be loaded by a run without the extension.
  case guarded
  /// It is served, as if MDS could.
  case unguarded
  /// It is refused.
  case none
}

extension ParameterTable {
  /// The table of the model in `directory`.
  ///
  /// - Parameter untie: whether a tied model is served untied.
  /// - Throws: `ModelError`, `SourceError`.
  init(
    of directory: HuggingFaceDirectory, untie: Bool = false, flavor: MegatronFlavor = .alcf,
    sequenceLength: Int? = nil
  ) throws {
    let file = directory.configurationFile
    let served = try ModelFamily(servedBy: file)
    try directory.requireLayers()
    let (family, c) = try served.configured(by: file)
    let isTied = try directory.isTied(family, configured: c.tieWordEmbeddings)
    try self.init(
      family.withEmbedding(isTied: isTied, holds: directory.locates), c, isTied: isTied, untie: untie,
      path: file.path, flavor: flavor, sequenceLength: sequenceLength,
      holds: directory.locates)
  }

  /// That of the model that a `config.json` alone describes.
  ///
  /// - Throws: likewise.
  init(of file: ConfigurationFile, flavor: MegatronFlavor, holds: (_ tensor: String) -> Bool = { _ in false })
    throws
  {
    let (family, c) = try ModelFamily(servedBy: file).configured(by: file)
    try self.init(
      family, c, isTied: c.tieWordEmbeddings, path: file.path, flavor: flavor, sequenceLength: nil,
      holds: holds)
  }

  private init(
    _ family: ModelFamily, _ c: ModelConfiguration, isTied: Bool, untie: Bool = false, path: String,
    flavor: MegatronFlavor,
    sequenceLength: Int?, holds: (_ tensor: String) -> Bool
  ) throws(ModelError) {
    do throws(ModelFamily.Refusal) {
      if flavor.splitsAttentionInThirds && c.heads != c.keyValueHeads {
        throw .init(
          "grouped-query attention (\(c.heads) heads, \(c.keyValueHeads) key-value heads)",
          "upstream's attention since FPDT (--flavor upstream-fpdt) cuts its fused weight in thirds, which fails. "
            + "Run upstream of before #441 (--flavor upstream), or the ALCF fork (--flavor alcf).")
      }
      try self.init(
        family, c, isTied: isTied, untie: untie, splitsAttentionInThirds: flavor.splitsAttentionInThirds,
        sequenceLength: sequenceLength, holds: holds)
    } catch {
      throw ModelError.unsupported(feature: error.feature, why: error.why, path: path)
    }
  }
}

extension HuggingFaceDirectory {
  func tensor(of tensor: HFTensor) throws(SourceError) -> TensorExpression {
    try self.tensor(sourceName(of: tensor.name), shape: tensor.storedShape)
  }

  /// Finds every tensor of `table` and checks its shape; tensors that the model has no place for are refused.
  fileprivate func check(_ table: ParameterTable) throws(SourceError) {
    var known: Set<String> = table.isTied ? [table.family.outputLayer] : []
    for tensor in table.tensors {
      known.insert(sourceName(of: tensor.name))
      _ = try self.tensor(of: tensor)
    }
    if let name = foreignTensors(besides: known).min() {
      throw .unexpectedTensor(name: name, path: file(of: name))
    }
  }
}
