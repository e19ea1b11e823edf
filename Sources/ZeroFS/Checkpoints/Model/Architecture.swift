import Bytes
import HuggingFace

/// What MDS's GPT model is told to compute, beside sizes, and what the extension has to add.
package struct Architecture: Sendable {
  /// `--normalization`; `LayerNorm` always has a bias in MDS.
  enum Normalization: String, Sendable {
    case rmsNorm = "rmsnorm"
    case layerNorm = "layernorm"
  }

  /// The MLP's activation as flags say it (MDS `megatron/model/transformer.py`: `ParallelMLP.__init__`).
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
    /// `--use-rotary-position-embeddings --rotary-position-embeddings-theta --rotary-percent`.
    case rotary(theta: Int, percent: Double)
    /// A table with a row for each position.
    case learned
  }

  /// A module's output times `scale`, in fp32, with `offset` added to its weight: a scalar that MDS doesn't know, folded in.
  struct Affine: Sendable, Hashable {
    var scale: Float = 1
    var offset: Float = 0
    var isIdentity: Bool { scale == 1 && offset == 0 }
  }

  /// Whether MDS computes the model without the extension.
  package enum ExtensionNeed: Sendable {
    case never
    /// Up to `sequenceLimits`, and the run's sequences aren't known.
    case beyondLimits
    case always
  }

  /// Sequences up to which MDS without the extension computes what transformers does.
  package struct SequenceLimit: Sendable, Hashable {
    let tokens: Int
    /// What the model has, in words: `sliding_window 4096`.
    let feature: String
  }

  var normalization: Normalization
  var activation: Activation
  var positions: Positions
  /// `--layernorm-epsilon`.
  var epsilon: Double
  /// Whether the output layer is the embedding, in the run.
  let isTied: Bool
  /// Foldings, by the module that they go into.
  var foldings: [Role: Affine] = [:]
  /// Of queries and keys; `nil` where MDS rotates the same.
  var rotary: RotaryRows?
  /// What the extension has to compute.
  var spec = ExtensionSpec()
  var extensionNeed = ExtensionNeed.never
  /// What it has to compute beyond `sequenceLimits` only: rope and windows.
  var beyondLimits = ExtensionSpec()
  var sequenceLimits: [SequenceLimit] = []
  /// What transformers multiplies rotated rows with at every length (`attention_scaling`): folded into queries and keys where MDS
  /// computes the model alone.
  var attentionFactor = 1.0
  /// What is served as asked and may still surprise.
  var warnings: [String] = []

  /// Whether transformers rotates each even row of a head against the odd one behind it.
  mutating func rotateInterleaved(_ c: ModelConfiguration) {
    guard case .rotary(_, let percent) = positions else { return }
    var rows = rotary ?? RotaryRows(headDim: c.headDim, rotated: Int(Double(c.headDim) * percent))
    rows.isInterleaved = true
    rotary = rows
  }

  /// Folds scalars of the residual stream. A tied embedding stays as it is: then the whole stream is smaller by its multiplier,
  /// and so are what is added to it and the norms' epsilon.
  ///
  /// - Parameters:
  ///   - embedding: on the embedding's output.
  ///   - residual: on what each attention and MLP adds.
  ///   - logits: what the logits are divided by.
  /// - Throws: for a scalar that nothing can be divided by.
  mutating func fold(embedding: Double, residual: Double, logits: Double) throws(ModelFamily.Refusal) {
    for scalar in [embedding, residual, logits] where !(scalar.isFinite && Float(scalar) != 0) {
      throw .init("a multiplier of \(scalar)", "it can't be folded into weights.")
    }
    let branch = Affine(scale: Float(isTied ? residual / embedding : residual))
    (foldings[.dense], foldings[.down]) = (branch, branch)
    if isTied {
      foldings[.finalNorm] = Affine(scale: Float(1 / logits))
      epsilon /= embedding * embedding
    } else {
      foldings[.wordEmbeddings] = Affine(scale: Float(embedding))
      foldings[.outputLayer] = Affine(scale: Float(1 / logits))
    }
  }
}
