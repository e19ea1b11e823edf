import Bytes
import HuggingFace

/// The tensors of Llama and Mistral, and their slices in Megatron's layout.
///
/// Source of every rule: MDS `tools/hf2megads_weight_converter.py`: `refactor`; the shapes are those of
/// `megatron/model/transformer.py`. h = hidden size, f = FFN size, d = head dimension, V' = padded vocabulary.
struct LlamaWeights: Sendable {
  let configuration: ModelConfiguration
  /// Whether the files hold an output layer although the model is tied. It isn't served.
  let leavesOutOutputLayer: Bool
  private let splitsAttentionInThirds: Bool
  private let embedding: Embedding
  private let outputLayer: Embedding
  private let finalNorm: TensorExpression
  private let layers: [Layer]

  private struct Layer {
    let inputNorm, q, k, v, o, postAttentionNorm, gate, up, down: TensorExpression
  }

  /// Finds every tensor and checks its shape; tensors that the model has no place for are refused.
  init(
    _ directory: HuggingFaceDirectory, _ c: ModelConfiguration, splitsAttentionInThirds: Bool = false
  ) throws(SourceError) {
    configuration = c
    self.splitsAttentionInThirds = splitsAttentionInThirds
    var known: Set<String> = []
    func tensor(_ name: String, _ shape: [Int]) throws(SourceError) -> TensorExpression {
      let name = directory.sourceName(of: name)
      known.insert(name)
      return try directory.tensor(name, shape: shape)
    }
    let (h, f, d) = (c.hiddenSize, c.intermediateSize, c.headDim)
    embedding = Embedding(try tensor("model.embed_tokens.weight", [c.vocabSize, h]))
    var layers: [Layer] = []
    layers.reserveCapacity(c.layers)
    for l in 0..<c.layers {
      let prefix = "model.layers.\(l)."
      layers.append(
        Layer(
          inputNorm: try tensor(prefix + "input_layernorm.weight", [h]),
          q: try tensor(prefix + "self_attn.q_proj.weight", [c.heads * d, h]),
          k: try tensor(prefix + "self_attn.k_proj.weight", [c.keyValueHeads * d, h]),
          v: try tensor(prefix + "self_attn.v_proj.weight", [c.keyValueHeads * d, h]),
          o: try tensor(prefix + "self_attn.o_proj.weight", [h, c.heads * d]),
          postAttentionNorm: try tensor(prefix + "post_attention_layernorm.weight", [h]),
          gate: try tensor(prefix + "mlp.gate_proj.weight", [f, h]),
          up: try tensor(prefix + "mlp.up_proj.weight", [f, h]),
          down: try tensor(prefix + "mlp.down_proj.weight", [h, f])))
    }
    self.layers = layers
    finalNorm = try tensor("model.norm.weight", [h])
    if c.tieWordEmbeddings {
      // Some files hold the tied head once more. transformers 4 ties it to the embedding whatever it holds; 5 compares.
      known.insert("lm_head.weight")
      outputLayer = embedding
    } else {
      outputLayer = Embedding(try tensor("lm_head.weight", [c.vocabSize, h]))
    }
    leavesOutOutputLayer = c.tieWordEmbeddings && directory.holds("lm_head.weight")
    // Old checkpoints hold the rotary frequencies, which every implementation computes.
    if let name = directory.tensorNames.filter({ !known.contains($0) && !$0.hasSuffix("rotary_emb.inv_freq") }
    ).min() {
      throw .unexpectedTensor(name: name, path: directory.file(of: name))
    }
  }

  /// The parameters of `module` on tensor-parallel rank `tp` of `size`, in `named_parameters()` order, in the dtype of the
  /// source. Names are relative to the module, as in a pipeline layer file.
  func parameters(of module: MegatronModule, tp: Int, size: Int, vocabulary: PaddedVocabulary) -> [(
    name: String, tensor: TensorExpression
  )] {
    switch module {
    case .embedding:
      [("word_embeddings.weight", vocabulary.rows(of: embedding, tp: tp, size: size))]
    case .finalNorm:
      [("weight", finalNorm)]
    case .outputLayer:
      [("lm_head.weight", vocabulary.rows(of: outputLayer, tp: tp, size: size))]
    case .layer(let index):
      layer(layers[index], tp: tp, size: size)
    }
  }

  private func layer(_ layer: Layer, tp: Int, size: Int) -> [(name: String, tensor: TensorExpression)] {
    let f = configuration.intermediateSize / size
    let qColumns = configuration.heads * configuration.headDim / size
    return [
      ("input_layernorm.weight", layer.inputNorm),
      ("self_attention.query_key_value.weight", queryKeyValue(layer, tp: tp, size: size)),
      ("self_attention.dense.weight", layer.o.columns((tp * qColumns)..<((tp + 1) * qColumns))),
      ("post_attention_layernorm.weight", layer.postAttentionNorm),
      // The rank's rows of gate before its rows of up (`megatron/model/transformer.py`: `ParallelMLP`, swiglu chunks).
      (
        "mlp.dense_h_to_4h.weight",
        .concatenating([layer.gate.rows((tp * f)..<((tp + 1) * f)), layer.up.rows((tp * f)..<((tp + 1) * f))])
      ),
      ("mlp.dense_4h_to_h.weight", layer.down.columns((tp * f)..<((tp + 1) * f))),
    ]
  }

  /// `[(heads + 2 * keyValueHeads) * d / size, h]`: for each of the rank's key-value groups its query rows, its key rows, its
  /// value rows (`megatron/model/transformer.py`: `ParallelAttention.split_tensor`). In upstream since FPDT all of its query
  /// rows, then all of its key rows, then all of its value rows (`ParallelAttention.forward`).
  private func queryKeyValue(_ layer: Layer, tp: Int, size: Int) -> TensorExpression {
    let d = configuration.headDim
    let queries = configuration.heads / configuration.keyValueHeads * d
    let groups = configuration.keyValueHeads / size
    if splitsAttentionInThirds {
      let own = (tp * groups * d)..<((tp + 1) * groups * d)
      return .concatenating([layer.q.rows(own), layer.k.rows(own), layer.v.rows(own)])
    }
    return .concatenating(
      ((tp * groups)..<((tp + 1) * groups)).flatMap { group in
        [
          layer.q.rows((group * queries)..<((group + 1) * queries)),
          layer.k.rows((group * d)..<((group + 1) * d)),
          layer.v.rows((group * d)..<((group + 1) * d)),
        ]
      })
  }
}
