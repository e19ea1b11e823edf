import Bytes
import Run
import Torch

/// What a run of MDS has trained, as the source of the same model in another layout: each content is put together from the
/// ranks of who saved it.
struct TrainedSource: ParameterSource {
  let checkpoint: TrainedCheckpoint
  /// Of the files.
  let geometry: MegatronGeometry
  let hasMasters = true
  let states: [String]

  func content(
    _ index: Int, of entry: ParameterTable.Entry, in module: MegatronModule, _ value: StoredValue
  ) -> TensorExpression {
    // Another fork may share the rows otherwise.
    guard let own = geometry.table.entries(of: module).first(where: { $0.name == entry.name }) else {
      preconditionFailure("the run has no \(entry.name)")
    }
    return own.sharding.whole(index, geometry.parallelism) { tp in
      checkpoint.parameter(geometry, module, entry.name, tp: tp, value)
    }
  }
}

extension TrainedCheckpoint {
  /// How far the run has come.
  ///
  /// - Parameters:
  ///   - isNewStage: of a run that starts anew from the weights and the optimizer's state.
  ///   - isSameClient: whether MDS goes on with what MDS saved, or a model of transformers with one; else the schedule and the
  ///     generators are of no use.
  /// - Throws: `TrainedError.optimizerState` for states that can't be cut anew, `TrainedError.disagree` for ranks of different
  ///   steps.
  func training(isNewStage: Bool, isSameClient: Bool) throws(TrainedError) -> TrainingState {
    let state = ranks[0].modelState
    var training = TrainingState()
    func number(_ name: String) -> Int { state[name]?.integer ?? 0 }
    if isSameClient { training.schedule = state["lr_scheduler"].flatMap { $0.isNone ? nil : $0 } }
    if isNewStage {
      training.schedule = training.schedule.map { schedule in
        schedule.setting(["num_steps", "num_tokens"].filter { schedule[$0] != nil }.map { ($0, .int(0)) })
      }
    } else {
      training.globalSteps = run.step
      (training.skippedSteps, training.globalSamples) = (number("skipped_steps"), number("global_samples"))
      (training.iteration, training.tokens) = (state["iteration"]?.integer ?? run.step, number("tokens"))
      func consumed(_ what: String) -> Int { run.arguments?.int("consumed_\(what)") ?? 0 }
      training.consumedTrainSamples =
        run.arguments == nil ? training.globalSamples : consumed("train_samples")
      training.consumedValidSamples = consumed("valid_samples")
      training.consumedTrainTokens = consumed("train_tokens")
    }
    if isSameClient { training.randomStates = ranks.compactMap { $0.modelState["rng_state"] } }
    if training.randomStates.count != ranks.count { training.randomStates = [] }
    training.savedBy = run.layout
    training.warnings = warnings
    guard let optimizer = ranks[0].optimizer else { return training }
    training.members = try members(optimizer)
    training.countsStepsInTensors = optimizer.countsStepsInTensors
    // A stage without weights that decay lacks their group.
    training.groups = ranks.compactMap(\.optimizer?.groups).max { $0.count < $1.count } ?? []
    if run.layout.dtype == .float16 { training.lossScale = optimizer.lossScale }
    return training
  }

  /// That of the run, as its files have it.
  ///
  /// - Throws: `RunError`, `LayoutError`.
  func deepSpeedConfiguration(_ options: CheckpointOptions) throws -> DeepSpeedConfiguration {
    let text = JSON(ranks[0].modelState["ds_config"] ?? .dict([:])).text()
    var configuration = try DeepSpeedConfiguration(NamedText(text, name: "\(files.path): ds_config"))
    if let dtype = options.gradAccumDtype { configuration.setGradAccumDType(dtype) }
    if let size = options.subGroupSize { try configuration.setSubGroupSize(size) }
    return configuration
  }

  private func members(_ optimizer: OptimizerPart) throws(TrainedError) -> [TrainingState.Member] {
    for rank in ranks.dropFirst() where rank.optimizer?.step != optimizer.step {
      throw .disagree(
        path: files.path, what: "the optimizer's step of a model-parallel rank",
        has: "\(rank.optimizer?.step ?? 0)", needs: "\(optimizer.step ?? 0)")
    }
    var members: [TrainingState.Member] = []
    for member in optimizer.members {
      switch member.kind {
      case .elementwise: members.append(.init(name: member.name, kind: .elementwise))
      case .step(let step): members.append(.init(name: member.name, kind: .step(step)))
      case .other(let value):
        guard value.tensors.isEmpty else { throw .optimizerState(path: files.path, name: member.name) }
        members.append(.init(name: member.name, kind: .constant(value)))
      }
    }
    return members
  }
}
