import Bytes
import Torch

/// The universal checkpoint beside the regular one: each parameter whole, which DeepSpeed cuts for any layout when it loads
/// (DeepSpeed `checkpoint/universal_checkpoint.py`: `load_hp_checkpoint_state`; written by `checkpoint/ds_to_universal.py`).
struct UniversalCheckpoint: Sendable {
  let state: MegatronEntries
  let settings: OptimizerSettings
  /// `global_step0_universal`.
  let tag: String

  private var model: MegatronModel { state.model }

  func entries() -> [FileTree.Entry] {
    [
      FileTree.Entry("latest_universal") { [tag] in VirtualFile(tag) },
      archive("mp_rank_00_model_states", modelState),
    ]
      + [archive("zero/optimizer_state", optimizerState)]
      + model.wholeParameters().flatMap { parameter, sharding in
        parts(of: parameter).map { part in
          archive("zero/\(parameter.name)/\(part.name)") { content(part.tensor, sharding) }
        } + steps(of: parameter)
      }
  }

  /// The master weight, and the optimizer's states.
  private func parts(of parameter: Parameter) -> [(name: String, tensor: TensorExpression)] {
    [("fp32", parameter.master)] + settings.training.elementwise.map { ($0, parameter.state($0)) }
  }

  private func steps(of parameter: Parameter) -> [FileTree.Entry] {
    guard let step = settings.training.step else { return [] }
    return [archive("zero/\(parameter.name)/step") { [settings] in settings.adam.inner.step(step) }]
  }

  /// One file of a parameter: the tensor, and how it is cut. The markers are there whatever the layout: without `cat_dim` a
  /// row-parallel weight would be cut along the wrong dimension, in silence.
  private func content(_ tensor: TensorExpression, _ sharding: Sharding) -> PickleValue {
    .dict([("param", .tensor(tensor, requiresGrad: false))] + sharding.universalMarks)
  }

  /// An entry for each of the optimizer's groups, empty before the first step: the run's own settings stay. With no entries
  /// nothing at all is loaded.
  private func optimizerState() -> PickleValue {
    let groups = ParameterGroup.megatron(model.wholeParameters().map(\.parameter), zeroStage: 1)
    return .dict([
      "param_groups": .list(
        settings.training.hasMoments && !settings.training.groups.isEmpty
          ? groups.indices.map { settings.adam.inner.group(groups[$0], settings, parameters: $0..<($0 + 1)) }
          : groups.map { _ in .dict([:]) }),
      "ds_version": .string("\(settings.deepSpeedVersion)"),
    ])
  }

  /// What the engine reads beside the parameters, which holds for every layout. `args` name one, which a load doesn't compare; it
  /// takes the consumed samples from there, and makes new generators where the layout is another (MDS
  /// `megatron/checkpointing.py`: `load_checkpoint`).
  private func modelState() -> PickleValue {
    let groups = ParameterGroup.megatron(model.parameters(tp: 0, pp: 0), zeroStage: model.layout.zeroStage)
    let optimizer = OptimizerState(groups, layout: model.layout, settings: settings)
    guard
      case .dict(let items) = ModelStatesFile(tp: 0, pp: 0, dp: 0, state: state, optimizer: optimizer).value()
    else { return .none }
    let own = [
      "module", "optimizer", "param_shapes", "mp_world_size", "checkpoint_parallel_dimensions",
    ]
    return .dict(
      items: items.filter { item in
        guard case .string(let key) = item.key else { return true }
        return !own.contains(key)
      } + [(.string("module"), .none), (.string("mp_world_size"), .int(1))])
  }

  private func archive(_ path: String, _ value: @escaping @Sendable () -> PickleValue) -> FileTree.Entry {
    let name = String(splitPath(path).name)
    return FileTree.Entry("\(tag)/\(path).pt") { TorchArchive(value(), name: name).file() }
  }
}

extension Sharding {
  /// How DeepSpeed cuts the whole parameter for a tensor-parallel rank (DeepSpeed `checkpoint/universal_checkpoint.py`:
  /// `load_hp_checkpoint_state`).
  fileprivate var universalMarks: [(String, PickleValue)] {
    switch self {
    case .replicated: []
    // DeepSpeed cuts the padding of matrices only.
    case .vocabulary where isVocabularyVector: [("cat_dim", .int(0))]
    case .vocabulary: [("cat_dim", .int(0)), ("vocab_tensor", .bool(true))]
    case .rows(let parts, _) where parts.count > 1:
      [("cat_dim", .int(0)), ("param_n_sub_params", .int(parts.count))]
    case .rows, .groups: [("cat_dim", .int(0))]
    case .columns: [("cat_dim", .int(1))]
    }
  }
}
