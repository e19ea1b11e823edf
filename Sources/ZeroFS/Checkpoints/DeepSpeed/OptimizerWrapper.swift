import Bytes

/// The class that DeepSpeed wraps the optimizer in, which decides what the optimizer's state looks like (DeepSpeed
/// `runtime/engine.py`: `_do_optimizer_sanity_check`, `_configure_fp16_optimizer`).
enum OptimizerWrapper: Sendable {
  /// `DeepSpeedZeroOptimizer`: stages 1 and 2.
  case zero
  /// `DeepSpeedZeroOptimizer_Stage3`.
  case zeroStage3
  /// `BF16_Optimizer`: bf16 in the pipeline engine at stage 0, and at stage 1 with gradients accumulated in fp32. Partitions
  /// like stage 1.
  case bf16
  /// `FP16_UnfusedOptimizer`: fp16, and bf16 without the pipeline engine, at stage 0.
  case fp16Unfused
  /// `FP16_Optimizer`: the same with FusedAdam.
  case fp16Fused
  /// No wrapper: fp32 at stage 0.
  case none

  init(_ layout: ParallelLayout, inner: InnerOptimizer, accumulatesInFloat32: Bool, version: DeepSpeedVersion)
  {
    self =
      switch (layout.zeroStage, layout.dtype, layout.engine) {
      case (3, _, _): .zeroStage3
      case (1, .bfloat16, _) where accumulatesInFloat32: .bf16
      case (1..., _, _): .zero
      case (_, .float32, _): .none
      case (_, .bfloat16, .pipeline): .bf16
      case (_, .bfloat16, .noPipeline) where version.wrapsBFloat16AlwaysInFloat32: .bf16
      default: inner == .fusedAdam ? .fp16Fused : .fp16Unfused
      }
  }

  /// Whether each data-parallel rank has a part of the state, in a file of its own.
  var isPartitioned: Bool {
    switch self {
    case .zero, .zeroStage3, .bf16: true
    case .fp16Unfused, .fp16Fused, .none: false
    }
  }
}
