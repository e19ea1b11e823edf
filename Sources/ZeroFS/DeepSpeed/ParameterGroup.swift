/// One of the optimizer's parameter groups.
struct ParameterGroup: Sendable {
  /// As MDS names it: `wd_no_scale_lr`.
  let name: String
  /// Factors on weight decay and learning rate.
  let weightDecayMultiplier: Double
  let learningRateMultiplier = 1.0
  /// In `named_parameters()` order.
  let parameters: [MegatronParameter]

  /// MDS `megatron/optimizer/__init__.py`: `get_param_groups`: weights first, then biases and norms, which don't decay. An
  /// empty group is left out.
  ///
  /// At ZeRO stage 3 there is one group, which doesn't decay: under `zero.Init` every parameter has shape (0,), so that
  /// MDS takes all of them for norms.
  static func groups(of parameters: [MegatronParameter], zeroStage: Int) -> [ParameterGroup] {
    func isWithoutDecay(_ parameter: MegatronParameter) -> Bool {
      zeroStage == 3 || parameter.isWithoutWeightDecay
    }
    return [
      ParameterGroup(
        name: "wd_no_scale_lr", weightDecayMultiplier: 1,
        parameters: parameters.filter { !isWithoutDecay($0) }),
      ParameterGroup(
        name: "no_wd_no_scale_lr", weightDecayMultiplier: 0, parameters: parameters.filter(isWithoutDecay)),
    ].filter { !$0.parameters.isEmpty }
  }
}
