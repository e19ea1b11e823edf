import HuggingFace

extension ModelFamily {
  /// transformers `models/gpt_bigcode/modeling_gpt_bigcode.py`: GPT-2 with `nn.Linear`, mostly with one key-value head; StarCoder.
  static let gptBigCode = ModelFamily(
    "gpt_bigcode", models: "StarCoder, SantaCoder",
    keys: gpt2Keys(hiddenAct: "gelu_pytorch_tanh", keyValueHeads: .init(.oneIfMultiQuery)),
    normalization: .layerNorm, embeddings: gpt2Embeddings, layers: "transformer.h.",
    layer: gpt2Layer(.groupedQueryKeyValue, isTransposed: false), head: gpt2Head, refine: gpt2Attention)
}
