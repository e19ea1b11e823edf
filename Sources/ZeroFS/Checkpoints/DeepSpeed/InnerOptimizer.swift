import Bytes
import Run
import Torch

/// The optimizer that the client makes and DeepSpeed wraps (MDS `megatron/optimizer/__init__.py`: `get_megatron_optimizer`).
package enum InnerOptimizer: Sendable, Equatable {
  /// `torch.optim.Adam`: weight decay is added to the gradient.
  case adam
  /// `torch.optim.AdamW`.
  case adamW
  /// `deepspeed.ops.adam.FusedAdam`.
  case fusedAdam
  /// `deepspeed.ops.adam.DeepSpeedCPUAdam`.
  case cpuAdam
  /// One whose groups and states are as a run has left them.
  case other(countsInTensors: Bool)

  /// - Throws: `RunError.optimizer` for those whose state has other members.
  init(_ run: RunArguments) throws(RunError) {
    let name = run["optimizer"]?.asString ?? "adam"
    switch name.lowercased() {
    case "adam" where run.isTrue("cpu_optimizer") && run.isTrue("cpu_torch_adam"): self = .adamW
    case "adam" where run.isTrue("cpu_optimizer"): throw .optimizer("adam --cpu-optimizer (DeepSpeedCPUAdam)")
    case "adam" where run.isTrue("ds_fused_adam"): self = .fusedAdam
    case "adam": self = .adam
    case "adamw": self = .adamW
    default: throw .optimizer(name)
    }
  }

  /// The entry of `group` in `param_groups` (`torch/optim/adam.py`: `Adam.__init__`; DeepSpeed `ops/adam/fused_adam.py`).
  func group(_ group: ParameterGroup, _ settings: OptimizerSettings, parameters: Range<Int>) -> PickleValue {
    let megatron: [(String, PickleValue)] =
      group.megatron.map {
        [
          ("name", .string($0.name)), ("wd_mult", .float(group.decays ? 1 : 0)),
          ("lr_mult", .float($0.learningRateMultiplier)),
        ]
      } ?? []
    let head = megatron + [("lr", .float(settings.adam.learningRate))]
    let base = settings.adam.baseLearningRate.map { [("initial_lr", PickleValue.float($0))] } ?? []
    let own = members(settings, decays: group.decays)
    let fresh = PickleValue.dict(head + own + base + [("params", .ints(parameters))])
    return settings.training.group(group, like: fresh, keepsMembers: isAsLeft)
  }

  private var isAsLeft: Bool { if case .other = self { true } else { false } }

  /// What the optimizer's class has in its entries beside the rate.
  private func members(_ settings: OptimizerSettings, decays: Bool) -> [(String, PickleValue)] {
    let betas = PickleValue.tuple([.float(settings.adam.betas.0), .float(settings.adam.betas.1)])
    let eps = PickleValue.float(settings.adam.eps)
    let decay = PickleValue.float(decays ? settings.adam.weightDecay : 0)
    switch self {
    case .adam, .adamW:
      return [
        ("betas", betas), ("eps", eps), ("weight_decay", decay), ("amsgrad", .bool(false)),
        ("maximize", .bool(false)), ("foreach", .none), ("capturable", .bool(false)),
        ("differentiable", .bool(false)), ("fused", settings.adam.isFused ? .bool(true) : .none),
        ("decoupled_weight_decay", .bool(self == .adamW)),
      ]
    case .fusedAdam:
      // Set by its first step: FP16_Optimizer makes one when it starts, and so did a run that has moments.
      let hasStepped = settings.wrapper == .fp16Fused || settings.training.hasMoments
      return [
        ("bias_correction", .bool(true)), ("betas", betas), ("eps", eps), ("weight_decay", decay),
      ] + (hasStepped ? [("step", .int(settings.training.step ?? 0))] : [])
    case .cpuAdam:
      return [
        ("betas", betas), ("eps", eps), ("weight_decay", decay), ("bias_correction", .bool(true)),
        ("amsgrad", .bool(false)),
      ]
    case .other: return [("weight_decay", decay)]
    }
  }

  /// A count of updates in the state of a tensor.
  func step(_ count: Int) -> PickleValue {
    switch self {
    case .fusedAdam, .cpuAdam, .other(countsInTensors: false): .int(count)
    case .adam, .adamW, .other(countsInTensors: true):
      .tensor(.filled(Float(count), shape: [], dtype: .float32), requiresGrad: false)
    }
  }
}
