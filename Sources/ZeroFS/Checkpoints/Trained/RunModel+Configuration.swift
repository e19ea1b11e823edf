import Bytes
import HuggingFace
import Run

extension RunModel {
  /// `config.json`, as transformers 4 and 5 read it alike, of the family whose models compute what the run did; `nil` where none does.
  func description(vocabularySize: Int, dtype: DType) -> String? {
    guard extensionSpec == nil else { return nil }
    if isLlama { return configuration(vocabularySize: vocabularySize, dtype: dtype) }
    guard let (model, own) = kin else { return nil }
    var members = JSON.Members()
    members.set("architectures", .array([.string(model)]))
    for (name, value) in own { members.set(name, value) }
    members.set("tie_word_embeddings", .bool(isTied))
    members.set("torch_dtype", .string(dtype.torchName))
    members.set("vocab_size", .int(vocabularySize))
    return JSON.object(members).text() + "\n"
  }

  /// `config.json` of the model as Llama, which transformers 4 and 5 read alike.
  func configuration(vocabularySize: Int, dtype: DType) -> String {
    var members = JSON.Members()
    members.set("architectures", .array([.string("LlamaForCausalLM")]))
    members.set("attention_bias", .bool(hasBiases))
    members.set("head_dim", number("kv_channels"))
    // Of the gated MLP; where there is another, the family says which.
    members.set("hidden_act", .string(activation.isGated ? "silu" : "gelu"))
    members.set("hidden_size", number("hidden_size"))
    members.set("intermediate_size", number("ffn_hidden_size"))
    members.set("max_position_embeddings", number("max_position_embeddings"))
    members.set("mlp_bias", .bool(hasBiases))
    members.set("model_type", .string("llama"))
    members.set("num_attention_heads", number("num_attention_heads"))
    members.set("num_hidden_layers", number("num_layers"))
    members.set("num_key_value_heads", number("num_key_value_heads"))
    members.set("rms_norm_eps", .double(epsilon))
    var rope = JSON.Members()
    rope.set("rope_theta", .double(Double(theta)))
    rope.set("rope_type", .string("default"))
    members.set("rope_parameters", .object(rope))
    members.set("rope_theta", .double(Double(theta)))
    members.set("tie_word_embeddings", .bool(isTied))
    members.set("torch_dtype", .string(dtype.torchName))
    members.set("vocab_size", .int(vocabularySize))
    return JSON.object(members).text() + "\n"
  }

  /// The class of transformers, and what its configuration has beside the vocabulary.
  private var kin: (model: String, members: [(String, JSON)])? {
    let isGELU = activation == .gelu || activation == .geluTanh
    let isOnePlus = arguments.isTrue("apply_layernorm_1p")
    let hasOneHeadEach = arguments.int("num_key_value_heads") == arguments.int("num_attention_heads")
    switch (isLayerNorm, hasBiases) {
    case (true, true) where isGELU && !isOnePlus && hasLearnedPositions && hasOneHeadEach:
      return ("GPT2LMHeadModel", gpt2)
    case (true, true) where isGELU && !isOnePlus && !hasLearnedPositions && rotaryPercent == 1:
      let act = JSON.string(activation == .geluTanh ? "gelu_pytorch_tanh" : "gelu")
      let own: [(String, JSON)] = [
        ("hidden_act", act), ("model_type", .string("starcoder2")), ("norm_epsilon", .double(epsilon)),
        ("sliding_window", .null), ("use_bias", .bool(true)),
      ]
      return ("Starcoder2ForCausalLM", own + sizes + groupedHeads + rope)
    case (true, true) where isGELU && !isOnePlus && !hasLearnedPositions && hasOneHeadEach:
      let own: [(String, JSON)] = [
        ("hidden_act", .string(activation == .geluTanh ? "gelu_new" : "gelu")),
        ("layer_norm_eps", .double(epsilon)), ("model_type", .string("gpt_neox")),
        ("rotary_emb_base", .int(theta)), ("rotary_pct", .double(rotaryPercent)),
        ("use_parallel_residual", .bool(false)),
      ]
      return ("GPTNeoXForCausalLM", own + sizes + rope)
    case (true, false) where activation == .swiGLU && !isOnePlus && !hasLearnedPositions:
      let own: [(String, JSON)] = [
        ("hidden_act", .string("silu")), ("layer_norm_eps", .double(epsilon)),
        ("model_type", .string("stablelm")), ("use_qkv_bias", .bool(false)),
      ]
      return ("StableLmForCausalLM", own + sizes + groupedHeads + rope)
    case (true, false) where activation == .squaredReLU && !isOnePlus && !hasLearnedPositions:
      let own: [(String, JSON)] = [
        ("hidden_act", .string("relu2")), ("model_type", .string("nemotron")),
        ("norm_eps", .double(epsilon)),
      ]
      return ("NemotronForCausalLM", own + sizes + groupedHeads + headSize + rope)
    case (false, false) where activation == .squaredReLU && !hasLearnedPositions:
      let own: [(String, JSON)] = [
        ("hidden_act", .string("relu2")), ("model_type", .string("arcee")),
        ("rms_norm_eps", .double(epsilon)),
      ]
      return ("ArceeForCausalLM", own + sizes + groupedHeads + headSize + rope)
    default: return nil
    }
  }

  private func number(_ name: String) -> JSON { .int(arguments.int(name) ?? 0) }

  private var gpt2: [(String, JSON)] {
    [
      ("activation_function", .string(activation == .geluTanh ? "gelu_new" : "gelu")),
      // Those of GPT-2's own vocabulary otherwise.
      ("bos_token_id", .null), ("eos_token_id", .null),
      ("layer_norm_epsilon", .double(epsilon)), ("model_type", .string("gpt2")),
      ("n_embd", number("hidden_size")), ("n_head", number("num_attention_heads")),
      ("n_inner", number("ffn_hidden_size")), ("n_layer", number("num_layers")),
      ("n_positions", number("max_position_embeddings")),
    ]
  }

  private var sizes: [(String, JSON)] {
    [
      ("hidden_size", number("hidden_size")), ("intermediate_size", number("ffn_hidden_size")),
      ("max_position_embeddings", number("max_position_embeddings")),
      ("num_attention_heads", number("num_attention_heads")), ("num_hidden_layers", number("num_layers")),
    ]
  }

  private var groupedHeads: [(String, JSON)] { [("num_key_value_heads", number("num_key_value_heads"))] }
  private var headSize: [(String, JSON)] { [("head_dim", number("kv_channels"))] }

  private var rope: [(String, JSON)] {
    var parameters = JSON.Members()
    parameters.set("partial_rotary_factor", .double(rotaryPercent))
    parameters.set("rope_theta", .double(Double(theta)))
    parameters.set("rope_type", .string("default"))
    return [
      ("partial_rotary_factor", .double(rotaryPercent)), ("rope_parameters", .object(parameters)),
      ("rope_theta", .double(Double(theta))),
    ]
  }
}
