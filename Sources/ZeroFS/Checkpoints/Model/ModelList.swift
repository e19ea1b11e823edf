import HuggingFace

/// The families in words: the README's tables.
package enum ModelList {
  package static var markdown: String {
    let served = ModelFamily.all.filter { $0.missing == nil }.map { family in
      "| \(code(family.modelTypes)) | \(family.models) | \(family.summary) |"
    }
    let known = ModelFamily.all.compactMap { family in family.missing.map { ($0.feature, family.modelTypes) }
    }
    let others = (known + MissingFeature.all.map { ($0.feature, $0.modelTypes) }).map {
      "| \($0.0) | \(code($0.1)) |"
    }
    return
      (["| `model_type` | models | in Megatron-DeepSpeed |", "|---|---|---|"] + served + [""]
      + ["| MDS lacks | `model_type` |", "|---|---|"] + others).joined(separator: "\n")
  }

  private static func code(_ names: [String]) -> String { names.map { "`\($0)`" }.joined(separator: ", ") }
}

extension ModelFamily {
  /// Norm, activation and positions, as in a model that leaves its class's defaults.
  fileprivate var summary: String {
    let norm = normalization == .rmsNorm ? "RMSNorm" : "LayerNorm"
    let activation =
      switch try? Architecture.Activation(keys.hiddenAct, isGated: isGated) {
      case .swiGLU: "SwiGLU"
      case .geluTanh: "GELU by tanh"
      case .gelu: "GELU"
      case .squaredReLU: "squared ReLU"
      case nil: keys.hiddenAct
      }
    let isLearned = embeddings.contains { $0.role == .positionEmbeddings }
    let positions = isLearned ? "learned positions" : rotatesPartially ? "partial RoPE" : "RoPE"
    return [norm, activation, positions].joined(separator: ", ")
      + (isRemoteCode ? "; code of its directories" : "")
  }
}
