/// What a module of transformers is in MDS's GPT model (MDS `megatron/model/language_model.py`: `TransformerLanguageModel`;
/// `megatron/model/transformer.py`: `ParallelTransformerLayer`).
package enum Role: Sendable, Hashable {
  case wordEmbeddings, positionEmbeddings, finalNorm, outputLayer

  /// The norm in front of attention.
  case inputNorm
  /// The norm in front of the MLP, which MDS calls `post_attention_layernorm`.
  case postAttentionNorm

  case query, key, value
  /// One module for all three, its rows all queries, then all keys, then all values.
  case fusedQueryKeyValue
  /// One module for all three, its rows as MDS has them: for each key-value group its queries, its key, its value.
  case groupedQueryKeyValue
  /// The output projection of attention.
  case dense

  case gate, up
  /// One module for both, its rows all of the gate, then all of the up-projection.
  case fusedGateUp
  case down

  /// A norm over the queries or keys, which the extension has.
  case queryNorm, keyNorm
  /// A norm behind attention or the MLP, which the extension has.
  case attentionOutputNorm, mlpOutputNorm

  /// The roles whose rows follow one another in a fused module; the role itself otherwise.
  var parts: [Role] {
    switch self {
    case .fusedQueryKeyValue, .groupedQueryKeyValue: [.query, .key, .value]
    case .fusedGateUp: [.gate, .up]
    default: [self]
    }
  }

  /// The bias of such a module is one of MDS's `--disable-bias-linear` switch.
  var isLinearOfLayer: Bool {
    switch self {
    case .query, .key, .value, .fusedQueryKeyValue, .groupedQueryKeyValue, .dense, .gate, .up, .fusedGateUp,
      .down:
      true
    case .wordEmbeddings, .positionEmbeddings, .finalNorm, .outputLayer, .inputNorm, .postAttentionNorm,
      .queryNorm, .keyNorm, .attentionOutputNorm, .mlpOutputNorm:
      false
    }
  }

  /// Whether its rows are heads that are rotated.
  var isRotated: Bool { self == .query || self == .key }
}
