import Bytes
import HuggingFace

/// What MDS's GPT model is told to compute, beside sizes.
package struct Architecture: Sendable {
  /// `--normalization`; `LayerNorm` always has a bias in MDS.
  enum Normalization: String, Sendable {
    case rmsNorm = "rmsnorm"
    case layerNorm = "layernorm"
  }

  /// The MLP's activation (MDS `megatron/model/transformer.py`: `ParallelMLP.__init__`).
  enum Activation: Sendable {
    /// `--swiglu`: gated, with SiLU.
    case swiGLU
    /// `--openai-gelu`: the approximation by tanh.
    case geluTanh
    /// By erf, which MDS has without `--bias-gelu-fusion`.
    case gelu
    /// `--squared-relu`.
    case squaredReLU

    var isGated: Bool { self == .swiGLU }
  }

  enum Positions: Sendable, Equatable {
    /// `--use-rotary-position-embeddings --rotary-percent`.
    case rotary(percent: Double = 1)
    /// A table with a row for each position.
    case learned
  }

  /// `value * scale + offset` in fp32: a scalar that MDS doesn't know, folded into a weight.
  struct Affine: Sendable, Hashable {
    var scale: Float = 1
    var offset: Float = 0
    var isIdentity: Bool { scale == 1 && offset == 0 }
  }

  var normalization = Normalization.rmsNorm
  var activation = Activation.swiGLU
  var positions = Positions.rotary()
  /// `--layernorm-epsilon`.
  var epsilon: Double
  /// Foldings, by the module that they go into.
  var foldings: [Role: Affine] = [:]
  /// What is served as asked and may still surprise.
  var warnings: [String] = []

  init(
    normalization: Normalization = .rmsNorm, activation: Activation = .swiGLU,
    positions: Positions = .rotary(),
    epsilon: Double
  ) {
    (self.normalization, self.activation) = (normalization, activation)
    (self.positions, self.epsilon) = (positions, epsilon)
  }
}
