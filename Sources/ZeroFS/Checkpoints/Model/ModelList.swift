import HuggingFace

/// The families in words: the tables of docs/models.md and, in short, of the README.
package enum ModelList {
  package static var markdown: String {
    let served = ModelFamily.all.map { family in
      "| \(code(family.modelTypes)) | \(family.models) | \(family.summary) |"
    }
    let others = MissingFeature.all.map { "| \($0.feature) | \(code($0.modelTypes)) |" }
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
      switch try? Architecture.Activation.named(keys.hiddenAct, isGated: isGated) {
      case (.swiGLU, .some)?: "GeGLU"
      case (.swiGLU, nil)?: "SwiGLU"
      case (.geluTanh, _)?: "GELU by tanh"
      case (.gelu, nil)?: "GELU"
      case (.squaredReLU, _)?: "squared ReLU"
      case (.gelu, .some)?, nil: keys.hiddenAct
      }
    let isLearned = embeddings.contains { $0.role == .positionEmbeddings }
    let positions = isLearned ? "learned positions" : rotatesPartially ? "partial RoPE" : "RoPE"
    return [norm, activation, positions].joined(separator: ", ")
      + (isRemoteCode ? "; code of its directories" : "")
      + (extensionSummary.map { "; with the extension: \($0)" } ?? "")
  }

  /// What the extension does for a model with the class's defaults; `nil` where MDS needs none.
  private var extensionSummary: String? {
    let text = #"{"model_type":"\#(modelTypes[0])"}"#
    guard let file = try? ConfigurationFile(contents: Array(text.utf8), path: "config.json"),
      let (family, c) = try? configured(by: file),
      let architecture = try? family.architecture(of: c, isTied: c.tieWordEmbeddings, sequenceLength: 1),
      architecture.extensionNeed == .always
    else { return nil }
    return architecture.spec.summary
  }
}
