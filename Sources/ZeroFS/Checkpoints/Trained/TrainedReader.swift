import Bytes
import Torch

/// Reads the files of one save, many at a time.
struct TrainedReader: Sendable {
  let files: TrainedFiles
  let run: TrainedRun
  let geometry: MegatronGeometry?
  let need: TrainedCheckpoint.Need

  /// Files read at a time: a slow disk answers many requests together.
  private static let concurrency = 64

  private enum Job: Sendable {
    case modelState(rank: Int, name: String)
    case layer(tp: Int, MegatronModule, name: String)
    case optimizer(rank: Int, name: String)
  }

  private enum Content: Sendable {
    case modelState(rank: Int, PickleValue, path: String)
    case layer(tp: Int, MegatronModule, [String: TensorExpression])
    case optimizer(rank: Int, path: String, OptimizerPart)
  }

  /// - Throws: `TrainedError`.
  func read() throws -> (ranks: [TrainedRank], sources: [SourceFile]) {
    let read = try Workers.run(Self.concurrency, jobs) { job in try self.read(job) }
    let contents = read.map(\.content)
    var states: [Int: (value: PickleValue, path: String)] = [:]
    var layers: [[MegatronModule: [String: TensorExpression]]] = Array(repeating: [:], count: run.layout.tp)
    var parts: [Int: [(path: String, part: OptimizerPart)]] = [:]
    for content in contents {
      switch content {
      case .modelState(let rank, let value, let path): states[rank] = (value, path)
      case .layer(let tp, let module, let tensors): layers[tp][module] = tensors
      case .optimizer(let rank, let path, let part): parts[rank, default: []].append((path, part))
      }
    }
    var ranks: [TrainedRank] = []
    for (tp, pp) in run.layout.modelParallelRanks {
      let number = run.layout.modelParallelRank(tp: tp, pp: pp)
      guard let state = states[number] else { continue }
      try check(state.value, path: state.path)
      var own = parts[number] ?? []
      if own.isEmpty && need > .parameters, let optimizer = state.value["optimizer"], !optimizer.isNone {
        own = [(state.path, try OptimizerPart(optimizer, path: state.path, isRead: need == .optimizer))]
      }
      ranks.append(
        try TrainedRank(
          modelState: state.value, parameters: parameters(state.value, layers[tp], pp: pp),
          dtype: run.layout.dtype,
          groups: try groups(state.value, own.first?.part, tp: tp, pp: pp, path: state.path),
          parts: own))
    }
    return (ranks, read.map(\.file))
  }

  private var names: CheckpointNames {
    let wrapper = OptimizerWrapper(
      run.layout, inner: .adam, accumulatesInFloat32: run.options.gradAccumDtype == .fp32,
      version: run.deepSpeedVersion ?? .newest)
    return CheckpointNames(step: run.step, layout: run.layout, isPartitioned: wrapper.isPartitioned)
  }

  /// By the rule that names files when they are written.
  private var jobs: [Job] {
    let (layout, names) = (run.layout, names)
    var jobs: [Job] = []
    for (tp, pp) in layout.modelParallelRanks {
      let rank = layout.modelParallelRank(tp: tp, pp: pp)
      jobs.append(.modelState(rank: rank, name: names.modelState(tp: tp, pp: pp, dp: 0)))
      if let geometry, layout.engine == .pipeline {
        for module in geometry.modules(of: pp) where module != .embedding || pp == 0 {
          jobs.append(
            .layer(tp: tp, module, name: CheckpointNames.layer(geometry.pipelineIndex(module), tp: tp)))
        }
      }
      // At stage 3 the parameters are in the optimizer's files alone.
      if need > .parameters || layout.zeroStage == 3 {
        for dp in names.partitionedRanks {
          jobs.append(.optimizer(rank: rank, name: names.optimizerState(tp: tp, pp: pp, dp: dp)))
        }
      }
    }
    return jobs
  }

  private func read(_ job: Job) throws(TrainedError) -> (content: Content, file: SourceFile) {
    switch job {
    case .modelState(let rank, let name):
      let (value, file) = try files.read(name)
      return (.modelState(rank: rank, value, path: file.path), file)
    case .layer(let tp, let module, let name):
      let (value, file) = try files.read(name)
      let tensors = Self.tensors(value)
      guard !tensors.isEmpty else {
        throw .unreadable(path: file.path, why: "it has no parameters of a layer")
      }
      return (.layer(tp: tp, module, tensors), file)
    case .optimizer(let rank, let name):
      let (value, file) = try files.read(name)
      guard let state = value["optimizer_state_dict"] else {
        throw .unreadable(path: file.path, why: "it has no optimizer_state_dict")
      }
      return (
        .optimizer(
          rank: rank, path: file.path,
          try OptimizerPart(state, path: file.path, isRead: need == .optimizer)), file
      )
    }
  }

  /// What each rank's file says alike.
  private func check(_ state: PickleValue, path: String) throws(TrainedError) {
    for (name, needed) in [
      ("global_steps", run.step), ("dp_world_size", run.layout.zeroRanks),
      ("mp_world_size", run.layout.modelParallelSize),
    ] {
      guard let number = state[name]?.integer else { throw .unreadable(path: path, why: "it has no \(name)") }
      if number != needed { throw .disagree(path: path, what: name, has: "\(number)", needs: "\(needed)") }
    }
    if let frozen = state["frozen_param_shapes"]?.items, !frozen.isEmpty, run.layout.zeroStage == 3 {
      throw .unsupported(
        path: path, what: "frozen parameters", why: "at ZeRO stage 3 they aren't served.")
    }
  }

  // MARK: - Of a rank

  /// Tensors by the path of keys that leads there, joined by dots.
  private static func tensors(_ value: PickleValue, prefix: String = "") -> [String: TensorExpression] {
    var found: [String: TensorExpression] = [:]
    for (name, value) in value.namedItems ?? [] {
      if let tensor = value.tensor {
        found[prefix + name] = tensor
      } else if value.items != nil {
        found.merge(tensors(value, prefix: "\(prefix)\(name).")) { $1 }
      }
    }
    return found
  }

  private func parameters(
    _ state: PickleValue, _ layers: [MegatronModule: [String: TensorExpression]], pp: Int
  ) -> [String: TensorExpression] {
    guard let geometry, run.layout.engine == .pipeline else {
      return Self.tensors(state["module"] ?? .none)
    }
    var found: [String: TensorExpression] = [:]
    for module in geometry.modules(of: pp) {
      for (name, tensor) in layers[module] ?? [:] { found[geometry.qualifiedName(module, name)] = tensor }
    }
    return found
  }

  /// The flattened parameters by optimizer group, as DeepSpeed lists them; where it doesn't, by the rule of who made the groups.
  private func groups(_ state: PickleValue, _ part: OptimizerPart?, tp: Int, pp: Int, path: String)
    throws(TrainedError) -> [[(name: String, shape: [Int])]]
  {
    if let listed = state["param_shapes"]?.elements {
      var groups: [[(name: String, shape: [Int])]] = []
      for group in listed {
        let named = group.namedItems ?? []
        let parameters = named.compactMap { name, value in value.size.map { (name, $0) } }
        guard parameters.count == named.count, !named.isEmpty else {
          throw .unreadable(path: path, why: "its param_shapes are no names and shapes")
        }
        groups.append(parameters)
      }
      return groups
    }
    if let geometry {
      let all = geometry.parameters(tp: tp, pp: pp)
      return [false, true].map { isWithout in
        all.filter { Parameter.isWithoutWeightDecay($0.name, shape: $0.shape) == isWithout }
      }.filter { !$0.isEmpty }
    }
    // A script's optimizer numbers the parameters of its groups through; one group has them in the module's order.
    let counts = part?.groups.map { $0["params"]?.elements?.count ?? 0 } ?? []
    guard counts.count <= 1 else {
      throw .unsupported(
        path: path, what: "stage 0 with several groups", why: "which parameters are in which isn't said.")
    }
    let named = state["module"]?.namedItems ?? []
    return [named.compactMap { name, value in value.tensor.map { (name, $0.shape) } }]
  }
}
