/// What a model family's configuration class in transformers calls things, and what it means by a member that `config.json`
/// lacks. The initialiser's defaults are `LlamaConfig`'s, so that a family states only what differs.
package struct ConfigurationKeys: Sendable {
  /// A field of every family, under the name that most of them give it.
  package enum Field: String, Sendable, CaseIterable {
    case hiddenSize = "hidden_size"
    case intermediateSize = "intermediate_size"
    case layers = "num_hidden_layers"
    case heads = "num_attention_heads"
    case keyValueHeads = "num_key_value_heads"
    case headDim = "head_dim"
    case vocabSize = "vocab_size"
    case maxPositionEmbeddings = "max_position_embeddings"
    case normEps = "rms_norm_eps"
    case tieWordEmbeddings = "tie_word_embeddings"
    case hiddenAct = "hidden_act"
    case attentionBias = "attention_bias"
    case mlpBias = "mlp_bias"
    case slidingWindow = "sliding_window"
  }

  /// A size that may follow from others.
  package struct Size: Sendable, ExpressibleByIntegerLiteral {
    package enum Rule: Sendable {
      case value(Int)
      case heads
      /// `hidden_size // num_attention_heads`.
      case hiddenSizePerHead
      case fourHiddenSizes
      /// 1 with `multi_query`, which is on where it is missing; else `heads`.
      case oneIfMultiQuery
    }
    let missing: Rule
    /// What `null` means; `nil` where the class refuses it.
    let null: Rule?

    package init(integerLiteral value: Int) { self.init(.value(value)) }
    package init(_ missing: Rule, null: Rule? = nil) { (self.missing, self.null) = (missing, null) }

    /// Of a field that is `None` where it is missing.
    package static func following(_ rule: Rule) -> Size { Size(rule, null: rule) }
  }

  /// Where a family has sliding attention.
  package enum Windows: Sendable {
    /// In no layer, whatever the file says.
    case none
    /// In every layer, where there is a window.
    case everyLayer
    /// Only with `use_sliding_window`, and then from layer `max_window_layers` on, which is 28 where it is missing.
    case switched
    /// In all layers but every n-th, n being `sliding_window_pattern` where the family reads that.
    /// Gemma 3 halves the window with `use_bidirectional_attention`.
    case allBut(every: Int, readsPattern: Bool, halvesIfBidirectional: Bool = false)
    /// With `use_sliding_window` in the layers without rotary embeddings (SmolLM3).
    case withoutRope
    /// In the layers that `attention_types` calls local (GPT-Neo).
    case attentionTypes
  }

  /// How a family reads what it rotates by.
  package enum Rope: Sendable {
    /// No rotary embeddings, or none that the file describes.
    case none
    /// `RotaryEmbeddingConfigMixin.convert_rope_params_to_dict`.
    case standard(theta: Double = 10_000, partialFactor: Double? = nil)
    /// `Phi3Config`: its own `original_max_position_embeddings` counts; `su` and `yarn` are `longrope`.
    case phi3
    /// `GPTNeoXConfig`: `rotary_emb_base` and `rotary_pct`.
    case neox
    /// `GPTJConfig`: a theta of 10,000, and `rotary_dim` elements of each head.
    case rotaryDim(Int)
    /// One set of parameters for full attention, one for sliding attention, whose theta is the member `localKey`.
    case perLayerType(theta: Double, localTheta: Double, localKey: String)
  }

  /// The object inside `config.json` that has all of this (`text_config`); `nil` for the whole.
  package var section: String?
  package var hiddenSize: Size
  package var intermediateSize: Size
  package var layers: Size
  package var heads: Size
  package var keyValueHeads: Size
  package var headDim: Size
  package var vocabSize: Size
  package var maxPositionEmbeddings: Size
  package var normEps: Double
  package var tieWordEmbeddings: Bool
  package var hiddenAct: String
  /// Activations that mean another one (`GemmaConfig`: `gelu` is the tanh approximation).
  package var hiddenActAliases: [String: String]
  package var attentionBias: Bool
  package var mlpBias: Bool
  /// Tokens; `nil` for none.
  package var slidingWindow: Int?
  package var windows: Windows
  /// Whether the class has `layer_types`.
  package var hasLayerTypes: Bool
  package var rope: Rope
  /// The names that the class reads, where they aren't the field's own: the last of them that is there counts
  /// (`attribute_map`). None for a field that the class doesn't have.
  private let names: [Field: [String]]

  package init(
    _ names: [Field: [String]] = [:], section: String? = nil,
    hiddenSize: Size = 4096, intermediateSize: Size = 11008, layers: Size = 32, heads: Size = 32,
    keyValueHeads: Size = .following(.heads), headDim: Size = .following(.hiddenSizePerHead),
    vocabSize: Size = 32000, maxPositionEmbeddings: Size = 2048, normEps: Double = 1e-6,
    tieWordEmbeddings: Bool = false, hiddenAct: String = "silu", hiddenActAliases: [String: String] = [:],
    attentionBias: Bool = false, mlpBias: Bool = false, slidingWindow: Int? = nil, windows: Windows = .none,
    hasLayerTypes: Bool = false, rope: Rope = .standard()
  ) {
    self.names = names
    self.section = section
    self.hiddenSize = hiddenSize
    self.intermediateSize = intermediateSize
    self.layers = layers
    self.heads = heads
    self.keyValueHeads = keyValueHeads
    self.headDim = headDim
    self.vocabSize = vocabSize
    self.maxPositionEmbeddings = maxPositionEmbeddings
    self.normEps = normEps
    self.tieWordEmbeddings = tieWordEmbeddings
    self.hiddenAct = hiddenAct
    self.hiddenActAliases = hiddenActAliases
    self.attentionBias = attentionBias
    self.mlpBias = mlpBias
    self.slidingWindow = slidingWindow
    self.windows = windows
    self.hasLayerTypes = hasLayerTypes
    self.rope = rope
  }

  /// The members of the file that the class reads a field from, the stronger ones last.
  package func names(of field: Field) -> [String] { names[field] ?? [field.rawValue] }
}
