import Bytes
import Glibc
import Run
import Torch

/// The files of a checkpoint, named as DeepSpeed and MDS name them (DeepSpeed `runtime/engine.py`: `_get_ckpt_name`,
/// `_get_zero_ckpt_name`).
package struct Checkpoint: Sendable {
  /// What a checkpoint holds beside the model, and how.
  package struct Settings: Sendable {
    /// How far the run has come.
    var training = TrainingState.start()
    package var deepSpeedConfiguration = DeepSpeedConfiguration()
    /// A universal checkpoint beside the regular one.
    package var isUniversal = false
    /// The version of DeepSpeed that the run has.
    package var deepSpeedVersion = DeepSpeedVersion.newest

    package init() {}
  }

  private let client: any CheckpointClient

  /// The checkpoint of a Megatron-DeepSpeed run.
  ///
  /// - Throws: `LayoutError` for a negative iteration, `RunError` for an optimizer that isn't served.
  package init(_ model: MegatronModel, run: RunArguments, _ settings: Settings = Settings()) throws {
    let training = settings.training
    guard training.iteration >= 0 else { throw LayoutError.iteration(training.iteration) }
    client = MegatronClient(
      state: MegatronEntries(model: model, run: run, training: training),
      settings: try OptimizerSettings(
        run, layout: model.layout, configuration: settings.deepSpeedConfiguration,
        training: training, version: settings.deepSpeedVersion),
      isUniversal: settings.isUniversal)
  }

  /// The checkpoint of a script that trains a model of transformers.
  ///
  /// - Parameter trainer: of HF Trainer; `nil` for a script that calls DeepSpeed itself.
  /// - Throws: `LayoutError` for a negative iteration, and one that Trainer's schedule would have to be known for; `RunError` for
  ///   an optimizer that isn't served; `ModelError` for an order that doesn't say what decays.
  package init(
    _ model: HuggingFaceModel, trainer: TrainingArguments? = nil, _ settings: Settings = Settings()
  )
    throws
  {
    let iteration = settings.training.iteration
    guard iteration >= 0 else { throw LayoutError.iteration(iteration) }
    let configuration = settings.deepSpeedConfiguration
    let clipGrad = configuration.gradientClipping(auto: trainer?.maxGradNorm)
    let trainer = try trainer.map { arguments in
      guard iteration == 0 || settings.training.savedBy != nil else {
        throw LayoutError.notInFlavor(option: "--iteration \(iteration)", flavor: "trainer")
      }
      guard model.order.withoutWeightDecay != nil else {
        throw ModelError.parameterOrder(
          path: "--parameter-order", why: "without_weight_decay is missing, which HF Trainer's groups follow")
      }
      return try Trainer(arguments, configuration, settings.training)
    }
    client = TransformersClient(
      model: model, trainer: trainer, step: settings.training.globalSteps,
      settings: OptimizerSettings(
        trainer?.adam ?? .init(), clipGrad: clipGrad, layout: model.layout,
        configuration: configuration, training: settings.training,
        version: settings.deepSpeedVersion))
  }

  package var layout: ParallelLayout { client.layout }
  package var summary: ModelSummary { client.summary }
  /// The one name of everything that decides which files there are.
  package var layoutName: LayoutName { client.layoutName }

  /// How a run loads it: flags, and what it takes from the checkpoint instead of from its command line.
  package var loading: [String] { client.loading }

  /// Things that are served as asked and may still surprise.
  package var warnings: [String] { client.settings.training.warnings + client.warnings }

  /// The directory of the files: `global_step0`.
  package var tag: String { names.tag }

  private var names: CheckpointNames {
    CheckpointNames(step: client.step, layout: layout, isPartitioned: client.settings.wrapper.isPartitioned)
  }

  /// What a run needs beside the checkpoint, relative to `.zerofs`: the package that extends MDS, and the model's spec.
  package var companions: [FileTree.Entry] { client.companions }

  /// The tree as it stands on disk, where no mount has `.zerofs`: with what the run can't do without.
  package func writtenTree(modified: timespec) -> FileTree {
    let tree = tree(modified: modified)
    guard client.needsCompanions else { return tree }
    return FileTree(
      tree.entries
        + companions.map { entry in
          FileTree.Entry("\(FileTree.reportDirectory)/\(entry.path)") { entry.file() }
        }, modified: modified)
  }

  package func tree(modified: timespec) -> FileTree {
    FileTree(
      sharedEntries + layout.modelParallelRanks.flatMap { entries(tp: $0.tp, pp: $0.pp) }, modified: modified)
  }

  /// The files that no rank has for itself.
  var sharedEntries: [FileTree.Entry] {
    [FileTree.Entry(CheckpointNames.latest) { [tag] in VirtualFile(tag) }] + client.ownFiles(tag: tag)
  }

  /// The files of a model-parallel rank, those of all its data-parallel ranks included.
  func entries(tp: Int, pp: Int) -> [FileTree.Entry] {
    let optimizer = SharedOptimizer { [client] in
      OptimizerState(client.groups(tp: tp, pp: pp), layout: client.layout, settings: client.settings)
    }
    let optimizers = names.partitionedRanks.map { dp in
      archive(names.optimizerState(tp: tp, pp: pp, dp: dp)) { [client] in
        Self.optimizerStates(optimizer.state, client.settings, dp: dp)
      }
    }
    // Ranks read the model's states, the layers in their order, and then each its own part of the optimizer's state.
    var layers: [FileTree.Entry] = []
    for file in client.layerFiles(tp: tp, pp: pp).reversed() {
      let next = layers.last ?? (optimizers.count == 1 ? optimizers[0] : nil)
      layers.append(archive(file.name, next: next, file.contents))
    }
    let modelStates = names.modelStateRanks.map { dp in
      archive(names.modelState(tp: tp, pp: pp, dp: dp), next: layers.last) { [client] in
        client.modelState(optimizer.state, tp: tp, pp: pp, dp: dp)
      }
    }
    return modelStates + optimizers + layers
  }

  /// DeepSpeed `runtime/engine.py`: `_save_zero_checkpoint`.
  private static func optimizerStates(_ optimizer: OptimizerState, _ settings: OptimizerSettings, dp: Int)
    -> PickleValue
  {
    .dict([
      "optimizer_state_dict": optimizer.value(dp: dp),
      "ds_config": settings.configuration.value(optimizer.layout),
      "ds_version": .string("\(settings.deepSpeedVersion)"),
    ])
  }

  /// The files that a model-parallel rank loads its parameters from.
  func modelStatePaths(tp: Int, pp: Int) -> [String] {
    ([names.modelState(tp: tp, pp: pp, dp: 0)] + client.layerFiles(tp: tp, pp: pp).map(\.name)).map(
      names.path)
  }

  /// The files that a global rank loads, in the order in which it does, relative to the checkpoint: its model's states, its
  /// layers, and its part of the optimizer's state.
  package func paths(ofRank rank: Int) -> [String] {
    let (tp, pp, dp) = layout.coordinate(ofRank: rank)
    let state = names.modelState(tp: tp, pp: pp, dp: names.modelStateRanks.contains(dp) ? dp : 0)
    let optimizer = names.partitionedRanks.contains(dp) ? [names.optimizerState(tp: tp, pp: pp, dp: dp)] : []
    return ([state] + client.layerFiles(tp: tp, pp: pp).map(\.name) + optimizer).map(names.path)
  }

  /// The optimizer files of a model-parallel rank, by data-parallel rank.
  func optimizerStatePaths(tp: Int, pp: Int) -> [String] {
    names.partitionedRanks.map { names.path(names.optimizerState(tp: tp, pp: pp, dp: $0)) }
  }

  private func archive(
    _ name: String, next: FileTree.Entry? = nil, _ value: @escaping @Sendable () -> PickleValue
  ) -> FileTree.Entry {
    FileTree.Entry(names.path(name), next: next) { TorchArchive(value(), name: name).file() }
  }
}

/// The optimizer's state of one model-parallel rank, made when a file first asks for it: it is the start of files for every
/// data-parallel rank, and `ls -l` wants the sizes of all.
private final class SharedOptimizer: Sendable {
  private let made = LockedValue<OptimizerState?>(nil)
  private let make: @Sendable () -> OptimizerState

  init(_ make: @escaping @Sendable () -> OptimizerState) { self.make = make }

  var state: OptimizerState {
    made.withLock { made in
      let state = made ?? make()
      made = state
      return state
    }
  }
}
