import Run

/// What decides the values and the shape of the optimizer's state, beside the parameters.
struct OptimizerSettings: Sendable {
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
  let training: TrainingState
  let clipGrad: Double
  let configuration: DeepSpeedConfiguration
  let deepSpeedVersion: DeepSpeedVersion

  /// Of a run of MDS, with its defaults.
  init(
    _ run: RunArguments, layout: ParallelLayout, configuration: DeepSpeedConfiguration,
    training: TrainingState, version: DeepSpeedVersion
  ) throws(RunError) {
    let warmup = run.schedule?["lr_warmup_steps"]?.asDouble ?? 0
    let inner: InnerOptimizer
    do { inner = try InnerOptimizer(run) } catch {
      // What a run has left of any optimizer goes on as it is.
      guard training.hasMoments else { throw error }
      inner = .other(countsInTensors: training.countsStepsInTensors)
    }
    let adam = Adam(
      inner: inner,
      learningRate: warmup > 0 ? 0 : run.schedule?["max_lr"]?.asDouble ?? 0,
      weightDecay: run.double("start_weight_decay") ?? run.double("weight_decay") ?? 0.01,
      betas: (run.double("adam_beta1") ?? 0.9, run.double("adam_beta2") ?? 0.999),
      eps: run.double("adam_eps") ?? 1e-8)
    // Up to 0.19.2 MDS's --clip-grad doesn't reach DeepSpeed's own setting.
    let clipGrad = version.gradientClippingDefault == 0 ? 0 : run.double("clip_grad")
    self.init(
      adam, clipGrad: clipGrad, layout: layout, configuration: configuration, training: training,
      version: version)
  }

  /// - Parameter clipGrad: `nil` for DeepSpeed's default.
  init(
    _ adam: Adam, clipGrad: Double?, layout: ParallelLayout, configuration: DeepSpeedConfiguration,
    training: TrainingState, version: DeepSpeedVersion
  ) {
    self.adam = adam
    wrapper = OptimizerWrapper(
      layout, inner: adam.inner, accumulatesInFloat32: configuration.accumulatesInFloat32, version: version)
    self.training = training
    self.clipGrad = clipGrad ?? version.gradientClippingDefault
    self.configuration = configuration
    deepSpeedVersion = version
  }
}
