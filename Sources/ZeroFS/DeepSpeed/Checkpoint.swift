import Glibc
import Synchronization

/// The files of a checkpoint, named as DeepSpeed and MDS name them (DeepSpeed `runtime/engine.py`: `_get_ckpt_name`,
/// `_get_zero_ckpt_name`; `runtime/pipe/module.py`: `ckpt_layer_path`; MDS `megatron/checkpointing.py`).
public struct Checkpoint: Sendable {
  /// What a checkpoint holds beside the model, and how.
  public struct Options: Sendable {
    /// The iteration that it claims to be of.
    public var iteration = 0
    public var deepSpeedConfiguration = DeepSpeedConfiguration()
    /// Adam's moments as zeros, instead of none.
    public var hasZeroMoments = false
    /// A universal checkpoint beside the regular one.
    public var isUniversal = false

    public init() {}
  }

  public let model: MegatronModel
  public let run: RunArguments
  let state: MegatronState
  let settings: OptimizerSettings
  private let isUniversal: Bool
  private let optimizers = Optimizers()

  /// - Throws: `LayoutError` for a negative iteration, `RunError` for an optimizer that isn't served.
  public init(_ model: MegatronModel, run: RunArguments, _ options: Options = Options()) throws {
    guard options.iteration >= 0 else { throw LayoutError.iteration(options.iteration) }
    self.model = model
    self.run = run
    state = MegatronState(model: model, run: run, iteration: options.iteration)
    settings = try OptimizerSettings(
      run, layout: model.layout, configuration: options.deepSpeedConfiguration,
      moments: options.hasZeroMoments ? .zeros : .none)
    isUniversal = options.isUniversal
  }

  private var layout: ParallelLayout { model.layout }

  /// The directory of the files: `global_step0`.
  public var tag: String { "global_step\(state.iteration)" }

  public func tree(modified: timespec) -> FileTree {
    var entries = [
      FileTree.Entry("latest") { [tag] in VirtualFile(tag) },
      FileTree.Entry("latest_checkpointed_iteration.txt") { [state] in VirtualFile("\(state.iteration)") },
      FileTree.Entry("lr_state_dict.yaml") { [state, run] in
        VirtualFile("iteration: \(state.iteration)\nlr: \(run.double("lr").map { "\($0)" } ?? "null")\n")
      },
    ]
    if isUniversal {
      entries += UniversalCheckpoint(state: state, settings: settings, tag: tag + "_universal").entries()
    }
    for pp in 0..<layout.pp {
      for tp in 0..<layout.tp {
        for dp in modelStateRanks {
          entries.append(
            archive(modelStateName(tp: tp, pp: pp, dp: dp)) { [self] in
              ModelState(tp: tp, pp: pp, dp: dp, state: state, settings: settings).value()
            })
        }
        for dp in partitionedRanks {
          entries.append(
            archive(optimizerStateName(tp: tp, pp: pp, dp: dp)) { [self] in
              optimizerStates(tp: tp, pp: pp, dp: dp)
            })
        }
        for module in layerFiles(of: pp) {
          entries.append(
            archive(layerName(module, tp: tp)) { [self] in
              .orderedDict(
                model.parameters(of: module, tp: tp).map {
                  ($0.name, .tensor($0.tensor, requiresGrad: false))
                })
            })
        }
      }
    }
    return FileTree(entries, modified: modified)
  }

  /// DeepSpeed `runtime/engine.py`: `_save_zero_checkpoint`.
  private func optimizerStates(tp: Int, pp: Int, dp: Int) -> PickleValue {
    let state = optimizers.state(of: layout.modelParallelRank(tp: tp, pp: pp)) {
      OptimizerState(model.parameters(tp: tp, pp: pp), layout: layout, settings: settings)
    }
    return .dict([
      "optimizer_state_dict": state.value(dp: dp),
      "ds_config": settings.configuration.value(layout),
      "ds_version": .string(settings.deepSpeedVersion),
    ])
  }

  /// The files that a model-parallel rank loads its parameters from.
  func modelStatePaths(tp: Int, pp: Int) -> [String] {
    ([modelStateName(tp: tp, pp: pp, dp: 0)] + layerFiles(of: pp).map { layerName($0, tp: tp) }).map(path)
  }

  /// The optimizer files of a model-parallel rank, by data-parallel rank.
  func optimizerStatePaths(tp: Int, pp: Int) -> [String] {
    partitionedRanks.map { path(optimizerStateName(tp: tp, pp: pp, dp: $0)) }
  }

  /// The data-parallel ranks that write a part of the optimizer's state.
  private var partitionedRanks: Range<Int> { 0..<(settings.wrapper.isPartitioned ? layout.dp : 0) }

  /// The data-parallel ranks that write model states: at stage 3 each, else the first for all.
  private var modelStateRanks: Range<Int> { 0..<(layout.zeroStage == 3 ? layout.dp : 1) }

  /// A tied embedding is in the first stage's file only; the last stage gets it by a broadcast after loading.
  private func layerFiles(of pp: Int) -> [MegatronModule] {
    guard layout.engine == .pipeline else { return [] }
    return model.partition.modules(of: pp, tied: model.isTied).filter { $0 != .embedding || pp == 0 }
  }

  private func modelStateName(tp: Int, pp: Int, dp: Int) -> String {
    // Never with the bf16_ of the optimizer's files.
    (layout.zeroStage == 3 ? "zero_pp_rank_\(dp)_" : "") + "mp_rank_\(rank(tp, pp))_model_states"
  }

  private func optimizerStateName(tp: Int, pp: Int, dp: Int) -> String {
    "\(layout.dtype == .bfloat16 ? "bf16_" : "")zero_pp_rank_\(dp)_mp_rank_\(rank(tp, pp))_optim_states"
  }

  private func layerName(_ module: MegatronModule, tp: Int) -> String {
    "layer_\(Checkpoint.twoDigits(model.pipelineIndex(module)))-model_\(Checkpoint.twoDigits(tp))-model_states"
  }

  private func rank(_ tp: Int, _ pp: Int) -> String {
    Checkpoint.twoDigits(layout.modelParallelRank(tp: tp, pp: pp))
  }

  private func path(_ name: String) -> String { "\(tag)/\(name).pt" }

  private func archive(_ name: String, _ value: @escaping @Sendable () -> PickleValue) -> FileTree.Entry {
    FileTree.Entry(path(name)) { TorchArchive(value(), name: name).file() }
  }

  /// `"{:02d}".format(number)`.
  private static func twoDigits(_ number: Int) -> String { number < 10 ? "0\(number)" : "\(number)" }
}

/// The optimizer states that were asked for, by model-parallel rank: each is the start of one file for every data-parallel
/// rank, and `ls -l` wants the sizes of all.
private final class Optimizers: Sendable {
  private let known = Mutex<[Int: OptimizerState]>([:])

  /// What `make` returned for the rank at the first call.
  func state(of rank: Int, _ make: () -> OptimizerState) -> OptimizerState {
    // Not made under the lock: two threads may make the same, but none waits for another's rank.
    if let state = known.withLock({ $0[rank] }) { return state }
    let state = make()
    known.withLock { $0[rank] = state }
    return state
  }
}
