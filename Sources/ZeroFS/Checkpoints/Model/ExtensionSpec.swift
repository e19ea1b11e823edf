import Bytes
import HuggingFace

/// What a model needs beyond MDS's flags: the spec of the Python package `zerofs_megatron`, whose spec.py has the meaning of each
/// key. Layers count from 0 over the whole model.
package struct ExtensionSpec: Sendable, Equatable {
  enum QKNorm: String, Sendable { case head, width }

  enum Norm: String, Sendable {
    /// RMSNorms multiply by 1 + weight.
    case plusOne = "plus_one"
    /// In fp32, before they round.
    case fp32Product = "fp32_product"
  }

  enum Block: String, Sendable {
    /// Norms behind attention and MLP, none in front.
    case post
    /// Norms in front and behind.
    case sandwich
    /// Attention and MLP side by side, a norm each.
    case parallel
    /// Likewise, on one norm.
    case parallelOneNorm = "parallel_one_norm"
  }

  /// In place of what MDS's flags choose; gated where they say so.
  enum Activation: String, Sendable {
    case silu, gelu, relu, relu2
    case geluTanh = "gelu_tanh"
  }

  struct LocalRope: Sendable, Equatable {
    let theta: Double
    let layers: [Int]
  }

  struct Window: Sendable, Equatable {
    /// Tokens, the one that attends among them.
    let size: Int
    /// `nil` for all.
    let layers: [Int]?
  }

  /// `rope_parameters` as transformers 5 has them.
  var rope: JSON.Members?
  /// Other, unscaled frequencies in some layers.
  var ropeLocal: LocalRope?
  /// Layers that don't rotate.
  var nopeLayers: [Int] = []
  var qkNorm: QKNorm?
  var norm: Norm?
  var block: Block?
  var activation: Activation?
  /// In place of 1/√head_dim.
  var attentionScale: Double?
  var attentionSoftcap: Double?
  var window: Window?
  var hasOneKeyValueHead = false
  var embeddingScale: Double?
  var logitScale: Double?
  var logitSoftcap: Double?
  /// Of the untied output layer.
  var hasHeadBias = false

  package init() {}

  package var isEmpty: Bool { members.all.isEmpty }

  /// Whether MDS alone computes something else. One key-value head it computes rightly, or stops: where it can't repeat the head.
  var isNeeded: Bool {
    var others = self
    others.hasOneKeyValueHead = false
    return !others.isEmpty
  }

  /// What is needed, by its key, in the order of spec.py.
  package var members: JSON.Members {
    func numbers(_ values: [Int]) -> JSON { .array(values.map { .int($0) }) }
    let all: [(String, JSON?)] = [
      ("rope", rope.map { .object($0) }),
      (
        "rope_local",
        ropeLocal.map {
          .object(.init([("rope_theta", .double($0.theta)), ("layers", numbers($0.layers))]))
        }
      ),
      ("nope_layers", nopeLayers.isEmpty ? nil : numbers(nopeLayers)),
      ("qk_norm", qkNorm.map { .string($0.rawValue) }),
      ("norm", norm.map { .object(.init([($0.rawValue, .bool(true))])) }),
      ("block", block.map { .string($0.rawValue) }),
      ("activation", activation.map { .string($0.rawValue) }),
      ("attention_scale", attentionScale.map { .double($0) }),
      ("attention_softcap", attentionSoftcap.map { .double($0) }),
      (
        "window",
        window.map { window in
          .object(
            .init([("size", .int(window.size))] + (window.layers.map { [("layers", numbers($0))] } ?? [])))
        }
      ),
      ("one_kv_head", hasOneKeyValueHead ? .bool(true) : nil),
      ("embedding_scale", embeddingScale.map { .double($0) }),
      ("logit_scale", logitScale.map { .double($0) }),
      ("logit_softcap", logitSoftcap.map { .double($0) }),
      ("head_bias", hasHeadBias ? .bool(true) : nil),
    ]
    return JSON.Members(all.compactMap { name, value in value.map { (name, $0) } })
  }

  /// What a guarded checkpoint carries (zerofs_megatron/guard.py: `put`).
  var guardText: String { JSON.object(members).text }

  /// In a few words, as the package says it (spec.py: `Spec.summary`): `rope (llama3), qk_norm (head)`.
  var summary: String {
    members.all.map { member in
      let kind =
        member.name == "rope"
        ? member.value["rope_type"]?.string
        : ["qk_norm", "block", "activation"].contains(member.name) ? member.value.string : nil
      return kind.map { "\(member.name) (\($0))" } ?? member.name
    }.joined(separator: ", ")
  }
}

extension RopeParameters {
  /// - Parameters:
  ///   - hasTheta: whether theta is part of the spec, and not only of the command line.
  ///   - hasFactor: whether the family reads how much of each head is rotated.
  func members(hasTheta: Bool, hasPartialFactor: Bool, maxPositionEmbeddings: Int) -> JSON.Members {
    func number(_ value: Double?) -> JSON? { value.map { .double($0) } }
    func numbers(_ values: [Double]?) -> JSON? { values.map { .array($0.map { .double($0) }) } }
    let isRelative = type == "dynamic" || factor == nil && ["yarn", "longrope"].contains(type)
    let all: [(String, JSON?)] = [
      ("rope_type", .string(type)), ("rope_theta", hasTheta ? .double(theta) : nil),
      ("partial_rotary_factor", hasPartialFactor ? .double(partialRotaryFactor) : nil),
      ("factor", number(factor)),
      (
        "original_max_position_embeddings",
        type == "linear" ? nil : originalMaxPositionEmbeddings.map { .int($0) }
      ),
      ("max_position_embeddings", isRelative ? .int(maxPositionEmbeddings) : nil),
      ("attention_factor", number(attentionFactor)), ("beta_fast", number(betaFast)),
      ("beta_slow", number(betaSlow)), ("mscale", number(mscale)), ("mscale_all_dim", number(mscaleAllDim)),
      ("truncate", truncate.map { .bool($0) }), ("short_factor", numbers(shortFactor)),
      ("long_factor", numbers(longFactor)), ("low_freq_factor", number(lowFreqFactor)),
      ("high_freq_factor", number(highFreqFactor)),
    ]
    return JSON.Members(all.compactMap { name, value in value.map { (name, $0) } })
  }
}
