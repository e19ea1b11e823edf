import HuggingFace

extension ModelFamily {
  /// transformers `models/exaone4/modeling_exaone4.py`: norms behind attention and MLP and over each head of queries and keys;
  /// where there are windows, the layers without one don't rotate.
  static let exaone4 = ModelFamily(
    "exaone4", models: "EXAONE 4", keys: .exaone4, layer: withPostNorms(withQueryKeyNorms(decoderLayer())),
    refine: { c, architecture in
      (architecture.spec.block, architecture.spec.qkNorm) = (.post, .head)
      if c.slidingWindow != nil { architecture.spec.nopeLayers = c.fullLayers }
    })
}
