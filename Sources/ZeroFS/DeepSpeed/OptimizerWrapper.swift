/// The class that DeepSpeed wraps the optimizer in, which decides what the optimizer's state looks like (DeepSpeed
/// `runtime/engine.py`: `_do_optimizer_sanity_check`, `_configure_optimizer`).
enum OptimizerWrapper: Sendable {
  /// `DeepSpeedZeroOptimizer`: stages 1 and 2.
  case zero
  /// `BF16_Optimizer`: bf16 in the pipeline engine at stage 0. Partitions like stage 1.
  case bf16
  /// `FP16_UnfusedOptimizer`: fp16, and bf16 without the pipeline engine, at stage 0.
  case fp16Unfused
  /// No wrapper: fp32 at stage 0.
  case none

  init(_ layout: ParallelLayout) {
    self =
      switch (layout.zeroStage, layout.dtype, layout.engine) {
      case (1..., _, _): .zero
      case (_, .float32, _): .none
      case (_, .bfloat16, .pipeline): .bf16
      default: .fp16Unfused
      }
  }

  /// Whether each data-parallel rank has a part of the state, in a file of its own.
  var isPartitioned: Bool { self == .zero || self == .bf16 }
}
