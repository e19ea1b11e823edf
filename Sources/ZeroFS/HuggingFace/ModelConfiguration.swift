import Bytes
import FoundationEssentials

/// `config.json` of a decoder model, as transformers 4 and 5 write it (`PretrainedConfig`). Missing members mean what
/// `LlamaConfig` means by them.
package struct ModelConfiguration: Sendable, Equatable {
  package let modelType: String
  package let hiddenSize: Int
  package let intermediateSize: Int
  package let layers: Int
  package let heads: Int
  package let keyValueHeads: Int
  /// Elements per attention head.
  package let headDim: Int
  package let vocabSize: Int
  package let maxPositionEmbeddings: Int
  package let rmsNormEps: Double
  package let ropeTheta: Double
  /// `rope_type` where positions are scaled: `llama3`, `linear`, `yarn`; `nil` for plain rotary embeddings.
  package let ropeScaling: String?
  package let tieWordEmbeddings: Bool
  /// The dtype that the model was saved in.
  package let dtype: DType?
  package let hiddenAct: String
  package let attentionBias: Bool
  package let mlpBias: Bool
  /// Tokens that attention reaches back; `nil` for all.
  package let slidingWindow: Int?
  /// `quant_method` of a quantized model.
  package let quantization: String?
}

extension ModelConfiguration {
  // Names as in the file.
  // swift-format-ignore: AlwaysUseLowerCamelCase
  private struct File: Decodable {
    struct Rope: Decodable {
      let rope_theta: Double?
      let rope_type: String?
      let type: String?
    }
    struct Quantization: Decodable { let quant_method: String? }

    let model_type: String
    let hidden_size: Int?
    let intermediate_size: Int?
    let num_hidden_layers: Int?
    let num_attention_heads: Int?
    let num_key_value_heads: Int?
    let head_dim: Int?
    let vocab_size: Int?
    let max_position_embeddings: Int?
    let rms_norm_eps: Double?
    let rope_theta: Double?
    let rope_scaling: Rope?
    let rope_parameters: Rope?
    let tie_word_embeddings: Bool?
    let torch_dtype: String?
    let dtype: String?
    let hidden_act: String?
    let attention_bias: Bool?
    let mlp_bias: Bool?
    let sliding_window: Int?
    let quantization_config: Quantization?
  }

  /// Tells a member that is missing from one that is null.
  private struct Presence: Decodable {
    // swift-format-ignore: AlwaysUseLowerCamelCase
    private enum Key: CodingKey { case sliding_window }
    let hasSlidingWindow: Bool

    init(from decoder: any Decoder) throws {
      hasSlidingWindow = try decoder.container(keyedBy: Key.self).contains(.sliding_window)
    }
  }

  init(json: [UInt8], path: String) throws {
    let file: File
    let hasSlidingWindow: Bool
    do {
      file = try JSONDecoder().decode(File.self, from: Data(json))
      hasSlidingWindow = try JSONDecoder().decode(Presence.self, from: Data(json)).hasSlidingWindow
    } catch {
      throw SourceError.malformedJSON(
        path: path, why: "not a model configuration (\(decodingProblem(error)))")
    }
    modelType = file.model_type
    func required(_ value: Int?, _ name: String) throws(SourceError) -> Int {
      guard let value else { throw .malformedJSON(path: path, why: "no \(name)") }
      // Sizes are multiplied later on; none of a real model comes near this.
      guard value > 0 && value < 1 << 24 else { throw .malformedJSON(path: path, why: "\(name) is \(value)") }
      return value
    }
    hiddenSize = try required(file.hidden_size, "hidden_size")
    intermediateSize = try required(file.intermediate_size, "intermediate_size")
    layers = try required(file.num_hidden_layers, "num_hidden_layers")
    heads = try required(file.num_attention_heads, "num_attention_heads")
    keyValueHeads = try required(file.num_key_value_heads ?? file.num_attention_heads, "num_key_value_heads")
    vocabSize = try required(file.vocab_size, "vocab_size")
    guard file.head_dim != nil || hiddenSize.isMultiple(of: heads) else {
      throw SourceError.malformedJSON(
        path: path,
        why:
          "hidden_size \(hiddenSize) is no multiple of num_attention_heads \(heads), and there is no head_dim"
      )
    }
    headDim = try required(file.head_dim ?? hiddenSize / heads, "head_dim")
    guard heads.isMultiple(of: keyValueHeads) else {
      throw SourceError.malformedJSON(
        path: path, why: "num_attention_heads \(heads) is no multiple of num_key_value_heads \(keyValueHeads)"
      )
    }
    maxPositionEmbeddings = try required(file.max_position_embeddings ?? 2048, "max_position_embeddings")
    rmsNormEps = file.rms_norm_eps ?? 1e-6
    let rope = file.rope_parameters ?? file.rope_scaling
    ropeTheta = file.rope_parameters?.rope_theta ?? file.rope_theta ?? 10_000
    let ropeType = rope?.rope_type ?? rope?.type ?? "default"
    ropeScaling = ropeType == "default" ? nil : ropeType
    tieWordEmbeddings = file.tie_word_embeddings ?? false
    let dtypeName = file.dtype ?? file.torch_dtype
    if let dtypeName {
      guard let known = DType.allCases.first(where: { $0.torchName == dtypeName }) else {
        throw SourceError.malformedJSON(path: path, why: "dtype is \"\(dtypeName)\"")
      }
      dtype = known
    } else {
      dtype = nil
    }
    hiddenAct = file.hidden_act ?? "silu"
    attentionBias = file.attention_bias ?? false
    mlpBias = file.mlp_bias ?? false
    // LlamaConfig has none, whatever the file says; MistralConfig has one of 4096 where the file doesn't say.
    slidingWindow =
      switch modelType {
      case "llama": nil
      case "mistral" where !hasSlidingWindow: 4096
      default: file.sliding_window
      }
    quantization = file.quantization_config.map { $0.quant_method ?? "unknown" }
  }
}
