@testable import Checkpoints

/// What Megatron's parameters of a `TinyModel` hold, by each family's own rule, in arrays of rows.
struct SlowReference {
  let model: TinyModel
  let plan: MegatronModel
  /// Tensor-parallel ranks.
  let size: Int

  private typealias Rows = [[Float]]
  private var type: String { model.type }
  private let s = TinyModel.sizes
  private var isGPT2Like: Bool { ["gpt2", "gpt_bigcode", "gpt_neo"].contains(type) }
  private var keyValueHeads: Int {
    ["gpt2", "gpt_bigcode", "gpt_neo", "gpt_neox", "baichuan"].contains(type) ? s.heads : s.keyValueHeads
  }

  init(model: TinyModel, plan: MegatronModel, size: Int) {
    (self.model, self.plan, self.size) = (model, plan, size)
  }

  func parameter(_ name: String, of module: MegatronModule, tp: Int) -> [Float] {
    switch module {
    case .embedding where name == "position_embeddings.weight": flat(tensor("transformer.wpe.weight"))
    case .embedding: flat(share(embedding, tp))
    case .outputLayer: flat(share(head, tp))
    case .finalNorm: norm(finalNorm, name, scale: finalScale)
    case .layer(let index): layer(name, index, tp)
    }
  }

  private func tensor(_ name: String) -> Rows { model.stored(name) ?? [] }
  private func flat(_ rows: Rows) -> [Float] { rows.flatMap { $0 } }
  private func scaled(_ rows: Rows, _ factor: Float) -> Rows { rows.map { $0.map { $0 * factor } } }
  private func share(_ rows: Rows, _ tp: Int) -> Rows {
    Array(rows[(tp * rows.count / size)..<((tp + 1) * rows.count / size)])
  }

  // MARK: - Outside of the layers

  private var embedding: Rows {
    let name =
      switch type {
      case "gpt2", "gpt_bigcode", "gpt_neo": "transformer.wte.weight"
      case "gpt_neox": "gpt_neox.embed_in.weight"
      case "internlm2": "model.tok_embeddings.weight"
      default: "model.embed_tokens.weight"
      }
    return scaled(tensor(name), type == "minicpm" ? 12 : 1)
  }
  private var head: Rows {
    let name = ["gpt_neox": "embed_out.weight", "internlm2": "output.weight"][type] ?? "lm_head.weight"
    return scaled(tensor(name), type == "minicpm" ? 0.25 : 1)
  }
  private var finalNorm: String {
    switch type {
    case "gpt2", "gpt_bigcode", "gpt_neo": "transformer.ln_f"
    case "gpt_neox": "gpt_neox.final_layer_norm"
    default: "model.norm"
    }
  }
  private var finalScale: Float { type == "granite" ? 0.125 : 1 }

  private func norm(_ module: String, _ name: String, scale: Float = 1) -> [Float] {
    let isBias = name.hasSuffix("bias")
    guard let stored = model.stored("\(module).\(isBias ? "bias" : "weight")") else {
      return [Float](repeating: isBias ? 0 : 1, count: s.hidden)
    }
    return flat(stored).map { type == "nemotron" && !isBias ? $0 + 1 : $0 * scale }
  }

  // MARK: - A layer

  private func layer(_ name: String, _ index: Int, _ tp: Int) -> [Float] {
    let prefix =
      isGPT2Like
      ? "transformer.h.\(index)."
      : type == "gpt_neox" ? "gpt_neox.layers.\(index)." : "model.layers.\(index)."
    let suffix = name.hasSuffix("bias") ? "bias" : "weight"
    /// `[out, in]`, or zeros for a bias that isn't there.
    func linear(_ module: String, rows: Int) -> Rows {
      guard let stored = model.stored("\(prefix)\(module).\(suffix)") else {
        return [[Float]](repeating: [0], count: rows)
      }
      guard type == "gpt2", suffix == "weight" else { return stored }
      return (0..<stored[0].count).map { column in stored.map { $0[column] } }
    }
    func columns(_ rows: Rows) -> [Float] {
      suffix == "bias"
        ? flat(rows) : rows.flatMap { $0[(tp * $0.count / size)..<((tp + 1) * $0.count / size)] }
    }
    let names = self.names
    switch String(name.dropLast(suffix.count + 1)) {
    case "input_layernorm": return norm(prefix + names.inputNorm, name)
    case "post_attention_layernorm": return norm(prefix + names.postNorm, name)
    case "self_attention.query_key_value": return attention(linear, tp)
    case "self_attention.dense": return columns(scaled(linear(names.dense, rows: s.hidden), residual))
    case "mlp.dense_4h_to_h": return columns(scaled(linear(names.down, rows: s.hidden), residual))
    case "mlp.dense_h_to_4h":
      if let fused = names.gateUp {
        let rows = linear(fused, rows: 2 * s.ffn)
        return flat(share(Array(rows[..<s.ffn]), tp) + share(Array(rows[s.ffn...]), tp))
      }
      let gate = names.gate.map { share(linear($0, rows: s.ffn), tp) } ?? []
      return flat(gate + share(linear(names.up, rows: s.ffn), tp))
    default: return []
    }
  }

  private var residual: Float {
    switch type {
    case "granite": Float(0.22 / 12)
    case "minicpm": Float(1.4 / Double(s.layers).squareRoot())
    default: 1
    }
  }

  private var names:
    (
      inputNorm: String, postNorm: String, dense: String, gate: String?, up: String, gateUp: String?,
      down: String
    )
  {
    let (a, b) = ("input_layernorm", "post_attention_layernorm")
    switch type {
    case "gpt2", "gpt_bigcode": return ("ln_1", "ln_2", "attn.c_proj", nil, "mlp.c_fc", nil, "mlp.c_proj")
    case "gpt_neo": return ("ln_1", "ln_2", "attn.attention.out_proj", nil, "mlp.c_fc", nil, "mlp.c_proj")
    case "gpt_neox": return (a, b, "attention.dense", nil, "mlp.dense_h_to_4h", nil, "mlp.dense_4h_to_h")
    case "internlm2":
      return (
        "attention_norm", "ffn_norm", "attention.wo", "feed_forward.w1", "feed_forward.w3", nil,
        "feed_forward.w2"
      )
    case "starcoder2": return (a, b, "self_attn.o_proj", nil, "mlp.c_fc", nil, "mlp.c_proj")
    case "phi3", "glm": return (a, b, "self_attn.o_proj", nil, "", "mlp.gate_up_proj", "mlp.down_proj")
    case "arcee", "nemotron", "jais2":
      return (a, b, "self_attn.o_proj", nil, "mlp.up_proj", nil, "mlp.down_proj")
    default: return (a, b, "self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj", nil, "mlp.down_proj")
    }
  }

  private func attention(_ linear: (String, Int) -> Rows, _ tp: Int) -> [Float] {
    let (q, kv) = (s.heads * s.headDim, keyValueHeads * s.headDim)
    if let verbatim = [
      "gpt_bigcode": "attn.c_attn", "gpt_neox": "attention.query_key_value", "internlm2": "attention.wqkv",
    ][type] {
      return flat(share(linear(verbatim, q + 2 * kv), tp))
    }
    var parts: [Rows]
    if let fused = ["gpt2": "attn.c_attn", "phi3": "self_attn.qkv_proj", "baichuan": "self_attn.W_pack"][type]
    {
      let rows = linear(fused, q + 2 * kv)
      parts = [Array(rows[..<q]), Array(rows[q..<(q + kv)]), Array(rows[(q + kv)...])]
    } else {
      let prefix = type == "gpt_neo" ? "attn.attention." : "self_attn."
      parts = [("q", q), ("k", kv), ("v", kv)].map { linear("\(prefix)\($0)_proj", $1) }
    }
    parts[0] = scaled(parts[0], queryScale)
    let rotated = ["helium": s.headDim, "ernie4_5": s.headDim, "glm": s.headDim / 2][type] ?? 0
    for index in 0...1 { parts[index] = halved(parts[index], rotated) }
    var result: Rows = []
    for group in (tp * keyValueHeads / size)..<((tp + 1) * keyValueHeads / size) {
      for part in parts {
        let count = part.count / keyValueHeads
        result += part[(group * count)..<((group + 1) * count)]
      }
    }
    return flat(result)
  }

  private var queryScale: Float {
    switch type {
    case "granite": Float(0.3 * Double(s.headDim).squareRoot())
    case "gpt_neo": Float(Double(s.headDim).squareRoot())
    default: 1
    }
  }

  /// Of the first `rotated` rows of each head the even ones, then the odd ones.
  private func halved(_ rows: Rows, _ rotated: Int) -> Rows {
    var result: Rows = []
    for start in stride(from: 0, to: rows.count, by: s.headDim) {
      for offset in stride(from: 0, to: rotated, by: 2) { result.append(rows[start + offset]) }
      for offset in stride(from: 1, to: rotated, by: 2) { result.append(rows[start + offset]) }
      result += rows[(start + rotated)..<(start + s.headDim)]
    }
    return result
  }
}
