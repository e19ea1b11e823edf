import Run

/// What decides the values and the shape of the optimizer's state, beside the parameters.
struct OptimizerSettings: Sendable {
  /// What the state holds of Adam's moments.
  enum Moments: String, Sendable, CaseIterable {
    /// Nothing, as DeepSpeed saves it before the first step.
    case none
    /// Zeros at step 0, from which training goes the same way.
    case zeros
  }

  /// The hyperparameters of Adam and its like when the run starts. Defaults are those of `torch.optim.AdamW`.
  struct Adam: Sendable {
    var inner = InnerOptimizer.adamW
    /// Of the groups: 0 while the rate warms up.
    var learningRate = 1e-3
    /// `initial_lr` of the groups, where a scheduler of torch's keeps the whole rate.
    var baseLearningRate: Double?
    var weightDecay = 1e-2
    var betas = (0.9, 0.999)
    var eps = 1e-8
    /// torch's `fused`.
    var isFused = false
  }

  let adam: Adam
  let wrapper: OptimizerWrapper
  let moments: Moments
  let clipGrad: Double
  let configuration: DeepSpeedConfiguration
  let deepSpeedVersion: DeepSpeedVersion

  /// Of a run of MDS, with its defaults.
  init(
    _ run: RunArguments, layout: ParallelLayout, configuration: DeepSpeedConfiguration, moments: Moments,
    version: DeepSpeedVersion
  ) throws(RunError) {
    let warmup = run.schedule?["lr_warmup_steps"]?.asDouble ?? 0
    let adam = Adam(
      inner: try InnerOptimizer(run),
      learningRate: warmup > 0 ? 0 : run.schedule?["max_lr"]?.asDouble ?? 0,
      weightDecay: run.double("start_weight_decay") ?? run.double("weight_decay") ?? 0.01,
      betas: (run.double("adam_beta1") ?? 0.9, run.double("adam_beta2") ?? 0.999),
      eps: run.double("adam_eps") ?? 1e-8)
    // Up to 0.19.2 MDS's --clip-grad doesn't reach DeepSpeed's own setting.
    let clipGrad = version.gradientClippingDefault == 0 ? 0 : run.double("clip_grad")
    self.init(
      adam, clipGrad: clipGrad, layout: layout, configuration: configuration, moments: moments,
      version: version)
  }

  /// - Parameter clipGrad: `nil` for DeepSpeed's default.
  init(
    _ adam: Adam, clipGrad: Double?, layout: ParallelLayout, configuration: DeepSpeedConfiguration,
    moments: Moments, version: DeepSpeedVersion
  ) {
    self.adam = adam
    wrapper = OptimizerWrapper(
      layout, inner: adam.inner, accumulatesInFloat32: configuration.accumulatesInFloat32, version: version)
    self.moments = moments
    self.clipGrad = clipGrad ?? version.gradientClippingDefault
    self.configuration = configuration
    deepSpeedVersion = version
  }
}
