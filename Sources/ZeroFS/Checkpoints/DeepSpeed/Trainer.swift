import Bytes
import Run
import Torch

/// HF Trainer as DeepSpeed's client (transformers `integrations/deepspeed.py`: `deepspeed_optim_sched`): who makes the optimizer
/// and the scheduler, itself or DeepSpeed from its configuration, and what Trainer saves beside DeepSpeed's files.
struct Trainer: Sendable {
  /// The optimizer's hyperparameters when the run starts.
  let adam: OptimizerSettings.Adam
  private let arguments: TrainingArguments
  private let ownsOptimizer: Bool
  /// DeepSpeed's own scheduler, from its configuration.
  private let hasConfiguredSchedule: Bool
  private let training: TrainingState

  /// - Throws: `RunError.notServed` for optimizers and schedulers of other kinds.
  init(
    _ arguments: TrainingArguments, _ configuration: DeepSpeedConfiguration, _ training: TrainingState
  ) throws(RunError) {
    (self.arguments, self.training) = (arguments, training)
    let (optimizer, scheduler) = (configuration["optimizer"], configuration["scheduler"])
    ownsOptimizer = optimizer == nil
    hasConfiguredSchedule = scheduler != nil
    var adam =
      try optimizer.map { optimizer throws(RunError) in
        try Trainer.configured(optimizer, arguments, isOffloaded: configuration.isOptimizerOffloaded)
      }
      ?? OptimizerSettings.Adam(
        inner: .adamW, learningRate: arguments.learningRate, weightDecay: arguments.weightDecay,
        betas: (arguments.adamBeta1, arguments.adamBeta2), eps: arguments.adamEpsilon,
        isFused: arguments.optimizer == .fused)
    // Accelerate replaces torch's optimizer where it is offloaded (accelerate `accelerator.py`: `_prepare_deepspeed`).
    if optimizer == nil && configuration.isOptimizerOffloaded
      && configuration["zero_force_ds_cpu_optimizer"]?.isFalse != true
    {
      adam.inner = .cpuAdam
    }
    if let scheduler {
      adam.learningRate = try Trainer.initialRate(scheduler)
    } else {
      // torch's schedulers keep the whole rate beside the one of the moment.
      adam.baseLearningRate = adam.learningRate
      if arguments.warmsUp { adam.learningRate = 0 }
    }
    self.adam = adam
  }

  /// The optimizer that DeepSpeed makes (DeepSpeed `runtime/engine.py`: `_configure_basic_optimizer`), with `"auto"` as Trainer
  /// fills it in (transformers `integrations/deepspeed.py`: `trainer_config_process`).
  private static func configured(
    _ optimizer: JSON, _ arguments: TrainingArguments, isOffloaded: Bool
  ) throws(RunError) -> OptimizerSettings.Adam {
    let (type, parameters) = (optimizer["type"]?.string ?? "", optimizer["params"])
    guard ["adam", "adamw"].contains(type.lowercased()) else {
      throw .notServed("optimizer \(type)", instead: "Adam or AdamW, or no optimizer: Trainer makes its own")
    }
    let isTorch = parameters?["torch_adam"]?.isTrue == true
    let decouples = type.lowercased() == "adamw" || parameters?["adam_w_mode"]?.isFalse != true
    var adam = OptimizerSettings.Adam(
      inner: isTorch ? (decouples ? .adamW : .adam) : isOffloaded ? .cpuAdam : .fusedAdam)
    // torch's AdamW alone has another default.
    if adam.inner != .adamW { adam.weightDecay = 0 }
    func number(_ name: String, auto: Double, otherwise: Double) throws(RunError) -> Double {
      try Trainer.number(parameters?[name], "optimizer.params.\(name)", auto: auto) ?? otherwise
    }
    adam.learningRate = try number("lr", auto: arguments.learningRate, otherwise: adam.learningRate)
    adam.weightDecay = try number("weight_decay", auto: arguments.weightDecay, otherwise: adam.weightDecay)
    adam.eps = try number("eps", auto: arguments.adamEpsilon, otherwise: adam.eps)
    if let betas = parameters?["betas"] {
      if case .array(let values) = betas, values.count == 2, let first = values[0].number,
        let second = values[1].number
      {
        adam.betas = (first, second)
      } else if betas.isAuto {
        adam.betas = (arguments.adamBeta1, arguments.adamBeta2)
      } else {
        throw .notServed("such a value of optimizer.params.betas", instead: "two numbers or \"auto\"")
      }
    }
    return adam
  }

  /// A number of the configuration; `nil` where there is none.
  private static func number(_ value: JSON?, _ name: String, auto: Double) throws(RunError) -> Double? {
    guard let value else { return nil }
    if value.isAuto { return auto }
    guard let number = value.number else {
      throw .notServed("such a value of \(name)", instead: "a number or \"auto\"")
    }
    return number
  }

  /// The rate before the first step (DeepSpeed `runtime/lr_schedules.py`: `get_lr`).
  private static func initialRate(_ scheduler: JSON) throws(RunError) -> Double {
    let type = scheduler["type"]?.string ?? ""
    switch type {
    case "WarmupLR", "WarmupDecayLR":
      return try number(scheduler["params"]?["warmup_min_lr"], "scheduler.params.warmup_min_lr", auto: 0) ?? 0
    case "WarmupCosineLR": return 0
    default:
      throw .notServed(
        "scheduler \(type)",
        instead: "WarmupLR, WarmupDecayLR or WarmupCosineLR, or no scheduler: Trainer makes its own")
    }
  }

  /// transformers `trainer.py`: `create_optimizer`; an optimizer of DeepSpeed's has one group.
  func groups(_ parameters: [Parameter], withoutWeightDecay names: Set<String>) -> [ParameterGroup] {
    if !ownsOptimizer { return [ParameterGroup(parameters: parameters)] }
    return [
      ParameterGroup(parameters: parameters.filter { !names.contains($0.name) }),
      ParameterGroup(parameters: parameters.filter { names.contains($0.name) }, decays: false),
    ]
  }

  private var groupCount: Int { ownsOptimizer ? 2 : 1 }
  /// Whether the scheduler is Trainer's alone, which saves it itself; beside an optimizer of DeepSpeed's the engine has it.
  private var keepsSchedule: Bool { ownsOptimizer && !hasConfiguredSchedule }

  /// `engine.lr_scheduler.state_dict()`.
  var engineSchedule: PickleValue {
    if hasConfiguredSchedule { return .dict(["last_batch_iteration": .int(-1)]) }
    return keepsSchedule ? .none : schedule
  }

  /// The state of torch's `LambdaLR` before the first step. What versions of torch hold beside is as the run makes it.
  private var schedule: PickleValue {
    func forEachGroup(_ value: PickleValue) -> PickleValue {
      .list(Array(repeating: value, count: groupCount))
    }
    return .dict([
      "base_lrs": forEachGroup(.float(adam.baseLearningRate ?? adam.learningRate)),
      "last_epoch": .int(training.globalSteps),
      "_step_count": .int(training.globalSteps + 1),
      "_last_lr": forEachGroup(.float(adam.learningRate)),
      "lr_lambdas": forEachGroup(.dict(items: [])),
    ])
  }

  /// What a resume reads: the state (transformers `trainer_callback.py`: `TrainerState`), and its own scheduler's (`trainer.py`:
  /// `_load_optimizer_and_scheduler`).
  ///
  /// In the state Trainer fills in what isn't there. A resumed run logs, saves and evaluates as the state says.
  var files: [FileTree.Entry] {
    let state = FileTree.Entry("trainer_state.json") { [arguments, training] in
      VirtualFile(
        """
        {
          "epoch": 0,
          "eval_steps": \(arguments.evalSteps ?? arguments.loggingSteps),
          "global_step": \(training.globalSteps),
          "log_history": [],
          "logging_steps": \(arguments.loggingSteps),
          "save_steps": \(arguments.saveSteps),
          "train_batch_size": \(arguments.perDeviceTrainBatchSize)
        }

        """)
    }
    let schedule = FileTree.Entry("scheduler.pt") { [schedule] in
      TorchArchive(schedule, name: "scheduler").file()
    }
    return [state] + (keepsSchedule ? [schedule] : [])
  }
}
