import Bytes

/// A parameter of one model-parallel rank.
package struct Parameter: Sendable {
  /// As in `named_parameters()` of the engine's model: `3.mlp.dense_4h_to_h.weight`,
  /// `language_model.encoder.layers.1.mlp.dense_4h_to_h.weight`; under its Hugging Face name
  /// `model.layers.1.mlp.down_proj.weight`.
  package let name: String
  /// In the dtype that the run trains in.
  package let tensor: TensorExpression
  /// The fp32 weight that the optimizer updates, of the same shape.
  package let master: TensorExpression
  /// The optimizer's elementwise states that there are, of the same shape.
  private let states: [(name: String, tensor: TensorExpression)]

  /// One of the optimizer's states; zeros, as before the first step, where there is none.
  func state(_ name: String) -> TensorExpression {
    states.first { $0.name == name }?.tensor ?? .zeros(tensor.shape, .float32)
  }

  /// Biases and everything 1-D: what runs exempt from weight decay (MDS `megatron/optimizer/__init__.py`: `get_param_groups`;
  /// transformers `Trainer.get_decay_parameter_names`).
  var isWithoutWeightDecay: Bool { Self.isWithoutWeightDecay(name, shape: tensor.shape) }

  static func isWithoutWeightDecay(_ name: String, shape: [Int]) -> Bool {
    name.hasSuffix(".bias") || shape.count == 1
  }

  /// Where the optimizer's fp32 weights come from.
  package enum Masters: String, Codable, Sendable, CaseIterable {
    /// The parameters, rounded to the run's dtype and widened again: what DeepSpeed makes of a model when it starts.
    case parameters
    /// The source, in all its precision: of use for an fp32 model in a bf16 or fp16 run.
    case source
  }

  init(
    name: String, tensor: TensorExpression, master: TensorExpression,
    states: [(name: String, tensor: TensorExpression)] = []
  ) {
    (self.name, self.tensor, self.master, self.states) = (name, tensor, master, states)
  }

  /// - Parameter source: in the dtype of the Hugging Face file.
  init(name: String, source: TensorExpression, dtype: DType, masters: Masters) {
    tensor = source.cast(to: dtype)
    master = (masters == .source ? source : tensor).cast(to: .float32)
    (self.name, states) = (name, [])
  }
}
