import Bytes
import Run
import Torch

/// How far a run has come: everything that a checkpoint holds of it beside the parameters' own elements. Of a model's files it is
/// `start`, of a checkpoint that a run saved what that says.
struct TrainingState: Sendable {
  /// A member of the inner optimizer's state, of each tensor that it updates.
  struct Member: Sendable {
    enum Kind: Sendable {
      /// One element for each of the tensor's: `Parameter.state`.
      case elementwise
      /// How many updates there were.
      case step(Int)
      /// The same for every tensor.
      case constant(PickleValue)
    }
    /// As torch calls it: `exp_avg`.
    let name: String
    let kind: Kind
  }

  /// `engine.global_steps`, which the tag is named after.
  var globalSteps = 0
  var skippedSteps = 0
  /// Samples that the engine has seen.
  var globalSamples = 0
  /// MDS's own count of steps.
  var iteration = 0
  var tokens = 0
  var consumedTrainSamples = 0
  var consumedValidSamples = 0
  var consumedTrainTokens = 0
  /// In torch's order; empty before the first step.
  var members: [Member] = []
  /// Whether the count of updates is a tensor, as in torch's optimizers, or a number.
  var countsStepsInTensors = true
  /// `param_groups` of the inner optimizer; empty where the settings say what is in them.
  var groups: [PickleValue] = []
  /// `LossScaler`, or an object with its members; `nil` where the settings say how it starts.
  var lossScale: PickleValue?
  /// `OptimizerParamScheduler.state_dict()`; `nil` where the run's arguments say it.
  var schedule: PickleValue?
  /// `rng_state`, by the model-parallel ranks of `savedBy`; empty where seeds say it.
  var randomStates: [PickleValue] = []
  /// What of the run or of its files is worth knowing.
  var warnings: [String] = []
  /// The layout that the run had.
  var savedBy: ParallelLayout?

  /// Before the first step.
  ///
  /// - Parameter hasZeroMoments: Adam's moments as zeros, from which training goes the same way as from none.
  static func start(iteration: Int = 0, hasZeroMoments: Bool = false) -> TrainingState {
    var state = TrainingState()
    (state.globalSteps, state.iteration) = (iteration, iteration)
    if hasZeroMoments {
      state.members = [
        Member(name: "step", kind: .step(0)), Member(name: "exp_avg", kind: .elementwise),
        Member(name: "exp_avg_sq", kind: .elementwise),
      ]
    }
    return state
  }

  var hasMoments: Bool { !members.isEmpty }
  /// Names of the elementwise ones.
  var elementwise: [String] {
    members.compactMap { if case .elementwise = $0.kind { $0.name } else { nil } }
  }
  /// Updates of the optimizer; `nil` where it doesn't count them.
  var step: Int? {
    members.lazy.compactMap { if case .step(let step) = $0.kind { step } else { nil } }.first
  }

  /// Goes on in another run's schedule, whose steps are samples, too.
  mutating func follow(_ other: LearningRateSchedule?) {
    guard let other else { return }
    let mine = schedule
    let seen: [(String, PickleValue)] =
      mine == nil
      ? [("num_steps", .int(consumedTrainSamples))]
      : ["num_steps", "num_tokens"].compactMap { name in mine?[name].map { (name, $0) } }
    schedule = PickleValue.dict(other.entries.map { ($0.key, $0.value.pickle) }).setting(seen)
  }

  /// The states that a rank of `layout` goes on with, as universal loading has them; `nil` where there are none.
  ///
  /// DeepSpeed gives the model states to the ranks of another layout in turn (DeepSpeed `runtime/state_dict_factory.py`:
  /// `SDLoaderBase.get_merge_state_dicts`), and MDS seeds the generator that tensor-parallel ranks must not share anew
  /// (`megatron/checkpointing.py`: `load_checkpoint`; DeepSpeed `runtime/activation_checkpointing/checkpointing.py`:
  /// `model_parallel_reconfigure_tp_seed`).
  func randomState(_ layout: ParallelLayout, tp: Int, pp: Int, seed: Int) -> PickleValue? {
    guard !randomStates.isEmpty, let savedBy else { return nil }
    let rank = layout.modelParallelRank(tp: tp, pp: pp)
    let state = randomStates[rank * randomStates.count / layout.modelParallelSize]
    if (savedBy.tp, savedBy.pp) == (layout.tp, layout.pp) { return state }
    let trackerSeed = UInt64(clamping: seed &+ iteration &+ 2718 &+ tp)
    return .list(
      (state.elements ?? []).map { one in
        let trackers = one["rng_tracker_states"]?.namedItems ?? []
        return one.setting([
          (
            "rng_tracker_states",
            .dict(trackers.map { ($0.name, TrainingState.seeded(trackerSeed, like: $0.value)) })
          )
        ])
      })
  }

  private static func seeded(_ seed: UInt64, like state: PickleValue) -> PickleValue {
    let bytes =
      state.tensor?.count == RandomState.philoxGeneratorState(seed: 0).count
      ? RandomState.philoxGeneratorState(seed: seed) : RandomState.cpuGeneratorState(seed: seed)
    return .literalTensor(bytes, .uint8, shape: [bytes.count])
  }

  /// The entry of `group` in `param_groups`, as the run left it: that of the group of its name, of another client's that which
  /// decays alike. Where the run had others, that of any, with what tells the two apart.
  ///
  /// - Parameters:
  ///   - fresh: what the settings make of it.
  ///   - keepsMembers: whether it has all that the run's had, whatever is in `fresh`.
  func group(_ group: ParameterGroup, like fresh: PickleValue, keepsMembers: Bool) -> PickleValue {
    let own: PickleValue?
    if groups.contains(where: { $0["name"] != nil }) {
      own = groups.first {
        if let name = group.megatron?.name { return $0["name"]?.text == name }
        return ($0["wd_mult"]?.number != 0) == group.decays
      }
    } else {
      own = groups.dropFirst(group.decays ? 0 : 1).first
    }
    guard let trained = own ?? groups.first else { return fresh }
    let keys = Set((fresh.namedItems ?? []).map(\.name))
    let isSameKind =
      keepsMembers || Set((trained.namedItems ?? []).map(\.name)).union(["step"]) == keys.union(["step"])
    // An optimizer of another kind has its own members; they share the values that both have.
    let base =
      isSameKind ? trained : fresh.setting((trained.namedItems ?? []).filter { keys.contains($0.name) })
    let distinguishing = ["name", "wd_mult", "weight_decay"].filter { own == nil && keys.contains($0) }
    let fixed = distinguishing + ["params"]
    return base.setting(fixed.compactMap { name in fresh[name].map { (name, $0) } })
  }
}
