/// What decides the values and the shape of the optimizer's state, beside the parameters.
struct OptimizerSettings: Sendable {
  /// What the state holds of Adam's moments.
  enum Moments: String, Sendable, CaseIterable {
    /// Nothing, as DeepSpeed saves it before the first step.
    case none
    /// Zeros at step 0, from which training goes the same way.
    case zeros
  }

  let inner: InnerOptimizer
  let wrapper: OptimizerWrapper
  let moments: Moments
  /// Of the groups when the run starts: 0 while the rate warms up.
  let initialLearningRate: Double
  let initialWeightDecay: Double
  let betas: (Double, Double)
  let eps: Double
  let clipGrad: Double
  let configuration: DeepSpeedConfiguration
  let deepSpeedVersion: DeepSpeedVersion

  /// Defaults are MDS's.
  init(
    _ run: RunArguments, layout: ParallelLayout, configuration: DeepSpeedConfiguration, moments: Moments,
    version: DeepSpeedVersion
  ) throws(RunError) {
    inner = try InnerOptimizer(run)
    wrapper = OptimizerWrapper(
      layout, inner: inner, accumulatesInFloat32: configuration.accumulatesInFloat32, version: version)
    deepSpeedVersion = version
    self.moments = moments
    let warmup = run.schedule?["lr_warmup_steps"]?.asDouble ?? 0
    initialLearningRate = warmup > 0 ? 0 : run.schedule?["max_lr"]?.asDouble ?? 0
    initialWeightDecay = run.double("start_weight_decay") ?? run.double("weight_decay") ?? 0.01
    betas = (run.double("adam_beta1") ?? 0.9, run.double("adam_beta2") ?? 0.999)
    eps = run.double("adam_eps") ?? 1e-8
    // Up to 0.19.2 MDS's --clip-grad doesn't reach DeepSpeed's own setting.
    clipGrad =
      version.gradientClippingDefault == 0 ? 0 : run.double("clip_grad") ?? version.gradientClippingDefault
    self.configuration = configuration
  }

  /// `torch.optim.AdamW(model.parameters())`, with torch's defaults.
  init(
    adamW layout: ParallelLayout, configuration: DeepSpeedConfiguration, moments: Moments,
    version: DeepSpeedVersion
  ) {
    inner = .adamW
    wrapper = OptimizerWrapper(
      layout, inner: inner, accumulatesInFloat32: configuration.accumulatesInFloat32, version: version)
    deepSpeedVersion = version
    self.moments = moments
    (initialLearningRate, initialWeightDecay) = (1e-3, 1e-2)
    (betas, eps) = ((0.9, 0.999), 1e-8)
    clipGrad = version.gradientClippingDefault
    self.configuration = configuration
  }
}
