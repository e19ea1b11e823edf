import Bytes
import HuggingFace

/// The module that transformers' `AutoModelForCausalLM.from_pretrained` makes, as DeepSpeed sees it: every tensor whole, under
/// its own name.
package struct HuggingFaceModel: Sendable {
  package let layout: ParallelLayout
  let configurationFile: ConfigurationFile
  let order: ParameterOrder
  /// In `named_parameters()` order.
  let parameters: [Parameter]
  /// `state_dict()`, in the dtype that the run trains in: DeepSpeed casts buffers, too.
  let stateDict: [(name: String, tensor: TensorExpression)]
  /// Tensors of the source that the module has no place for.
  let others: Int
  /// What the model directory says twice, or holds beside the model.
  let sourceWarnings: [String]

  /// - Parameter order: `nil` for that of the model's family.
  /// - Throws: `LayoutError` for a model that is cut into pieces, `ModelError` where the order isn't known, `SourceError` for
  ///   tensors that are missing, have no place, or aren't floating point.
  package init(
    _ directory: HuggingFaceDirectory, layout: ParallelLayout, order given: ParameterOrder? = nil,
    masters: Parameter.Masters = .parameters
  ) throws {
    try HuggingFaceModel.checkWhole(layout)
    let order = try given ?? ParameterOrder(of: directory)
    var used: Set<String> = []
    func tensorName(_ name: String) -> String { order.files[name] ?? directory.sourceName(of: name) }
    func source(_ name: String) throws(SourceError) -> TensorExpression {
      let name = tensorName(name)
      used.insert(name)
      return try directory.tensor(name)
    }
    parameters = try order.parameters.map {
      Parameter(name: $0, source: try source($0), dtype: layout.dtype, masters: masters)
    }
    let tensors = Dictionary(uniqueKeysWithValues: parameters.map { ($0.name, $0.tensor) })
    stateDict = try order.stateDict.map { name in
      (name, try tensors[order.tied[name] ?? name] ?? source(name).cast(to: layout.dtype))
    }
    used.formUnion((order.tied.keys + order.unconfiguredBiases).map(tensorName))
    let others = directory.foreignTensors(besides: used)
    if !order.allowsOthers, let name = others.min() {
      throw SourceError.unexpectedTensor(name: name, path: directory.file(of: name))
    }
    (self.layout, self.order, self.others) = (layout, order, others.count)
    configurationFile = directory.configurationFile
    sourceWarnings = configurationFile.warnings + directory.warnings(servedAs: layout.dtype) + order.warnings
  }

  /// The model that a run has trained.
  ///
  /// - Parameter states: of the optimizer, those that there are.
  /// - Throws: `LayoutError`, `ModelError` likewise; `TrainedError.unreadable` for a parameter that isn't there.
  init(
    _ weights: NamedWeights, states: [String], layout: ParallelLayout, order given: ParameterOrder?,
    path: String
  ) throws {
    try HuggingFaceModel.checkWhole(layout)
    let names = Set(weights.names)
    let order =
      try given
      ?? ParameterOrder(of: weights.configuration, isTied: weights.isTied, holds: names.contains)
    let stored = { (name: String) in order.files[name] ?? name }
    for name in order.parameters + order.buffers where !names.contains(stored(name)) {
      throw TrainedError.unreadable(path: path, why: "there is no parameter \(name), which the model has")
    }
    parameters = order.parameters.map { name in
      func value(_ value: StoredValue) -> TensorExpression { weights.tensor(stored(name), value) }
      let (weight, master) = (value(.parameter), value(.master).cast(to: .float32))
      return Parameter(
        name: name, tensor: weight.dtype == layout.dtype ? weight : master.cast(to: layout.dtype),
        master: master, states: states.map { ($0, value(.state($0))) })
    }
    let tensors = Dictionary(uniqueKeysWithValues: parameters.map { ($0.name, $0.tensor) })
    stateDict = order.stateDict.map { name in
      (
        name,
        tensors[order.tied[name] ?? name]
          ?? weights.tensor(stored(name), .parameter).cast(to: layout.dtype)
      )
    }
    (self.layout, self.order, others, configurationFile) = (layout, order, 0, weights.configuration)
    sourceWarnings = weights.warnings
  }

  private static func checkWhole(_ layout: ParallelLayout) throws(LayoutError) {
    for (name, size) in [("--tp", layout.tp), ("--pp", layout.pp), ("--sp", layout.sp)] where size > 1 {
      throw LayoutError.wholeModel(option: "\(name) \(size)")
    }
  }
}
