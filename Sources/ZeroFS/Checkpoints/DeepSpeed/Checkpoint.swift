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
  private let optimizers = Optimizers()

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
    var entries =
      [FileTree.Entry(CheckpointNames.latest) { [tag] in VirtualFile(tag) }] + client.ownFiles(tag: tag)
    for pp in 0..<layout.pp {
      for tp in 0..<layout.tp {
        let optimizers = names.partitionedRanks.map { dp in
          archive(names.optimizerState(tp: tp, pp: pp, dp: dp)) { [self] in
            optimizerStates(tp: tp, pp: pp, dp: dp)
          }
        }
        // Ranks read the model's states, the layers in their order, and then each its own part of the optimizer's state.
        var layers: [FileTree.Entry] = []
        for file in client.layerFiles(tp: tp, pp: pp).reversed() {
          let next = layers.last ?? (optimizers.count == 1 ? optimizers[0] : nil)
          layers.append(archive(file.name, next: next, file.contents))
        }
        for dp in names.modelStateRanks {
          entries.append(
            archive(names.modelState(tp: tp, pp: pp, dp: dp), next: layers.last) { [self] in
              client.modelState(optimizer(tp: tp, pp: pp), tp: tp, pp: pp, dp: dp)
            })
        }
        entries += optimizers + layers
      }
    }
    return FileTree(entries, modified: modified)
  }

  /// DeepSpeed `runtime/engine.py`: `_save_zero_checkpoint`.
  private func optimizerStates(tp: Int, pp: Int, dp: Int) -> PickleValue {
    let settings = client.settings
    return .dict([
      "optimizer_state_dict": optimizer(tp: tp, pp: pp).value(dp: dp),
      "ds_config": settings.configuration.value(layout),
      "ds_version": .string("\(settings.deepSpeedVersion)"),
    ])
  }

  private func optimizer(tp: Int, pp: Int) -> OptimizerState {
    optimizers.state(of: layout.modelParallelRank(tp: tp, pp: pp)) {
      OptimizerState(client.groups(tp: tp, pp: pp), layout: layout, settings: client.settings)
    }
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

/// The optimizer states that were asked for, by model-parallel rank: each is the start of files for every data-parallel rank,
/// and `ls -l` wants the sizes of all.
private final class Optimizers: Sendable {
  private let known = LockedValue<[Int: OptimizerState]>([:])

  /// What `make` returned for the rank at the first call.
  func state(of rank: Int, _ make: () -> OptimizerState) -> OptimizerState {
    // Not made under the lock: two threads may make the same, but none waits for another's rank.
    if let state = known.withLock({ $0[rank] }) { return state }
    let state = make()
    known.withLock { $0[rank] = state }
    return state
  }
}
