/// One of the optimizer's parameter groups.
struct ParameterGroup: Sendable {
  /// What MDS adds to a group of torch's.
  struct Megatron: Sendable {
    /// `wd_no_scale_lr`.
    let name: String
    /// A factor on the learning rate.
    let learningRateMultiplier = 1.0
  }

  /// In `named_parameters()` order.
  let parameters: [Parameter]
  var decays = true
  /// `nil` in a group of another client.
  var megatron: Megatron?

  /// MDS `megatron/optimizer/__init__.py`: `get_param_groups`: weights first, then biases and norms, which don't decay. An
  /// empty group is left out.
  ///
  /// At ZeRO stage 3 there is one group, which doesn't decay: under `zero.Init` every parameter has shape (0,), so that
  /// MDS takes all of them for norms.
  static func megatron(_ parameters: [Parameter], zeroStage: Int) -> [ParameterGroup] {
    func isWithoutDecay(_ parameter: Parameter) -> Bool {
      zeroStage == 3 || parameter.isWithoutWeightDecay
    }
    return [
      ParameterGroup(
        parameters: parameters.filter { !isWithoutDecay($0) }, megatron: Megatron(name: "wd_no_scale_lr")),
      ParameterGroup(
        parameters: parameters.filter(isWithoutDecay), decays: false,
        megatron: Megatron(name: "no_wd_no_scale_lr")),
    ].filter { !$0.parameters.isEmpty }
  }
}
