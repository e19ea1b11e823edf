import Foundation
import Testing

@testable import Bytes
@testable import Checkpoints
@testable import HuggingFace

/// A tiny model directory whose every element has a value of its own: `tensor number * 4096 + index`, in fp32.
private struct TinyModel {
  let directory = try! TemporaryDirectory()
  let shapes: [String: [Int]]
  let model: HuggingFaceDirectory

  static let sizes = (hidden: 8, ffn: 12, layers: 3, heads: 4, keyValueHeads: 2, headDim: 4, vocabulary: 10)

  init(_ type: String, members: String = "", shapes: [String: [Int]]) throws {
    let s = Self.sizes
    self.shapes = shapes
    var header: [String] = []
    var data: [UInt8] = []
    for (index, (name, shape)) in shapes.sorted(by: { $0.key < $1.key }).enumerated() {
      let count = shape.reduce(1, *)
      header.append(
        "\"\(name)\":{\"dtype\":\"F32\",\"shape\":\(shape),\"data_offsets\":[\(data.count),\(data.count + count * 4)]}"
      )
      for element in 0..<count {
        data += withUnsafeBytes(of: Float(index * 4096 + element)) { Array($0) }
      }
    }
    try directory.write(
      "model.safetensors", safetensors(header: "{" + header.joined(separator: ",") + "}", data: data))
    try directory.write(
      "config.json",
      Array(
        """
        {"model_type":"\(type)","hidden_size":\(s.hidden),"intermediate_size":\(s.ffn),"num_hidden_layers":\(s.layers),
         "num_attention_heads":\(s.heads),"num_key_value_heads":\(s.keyValueHeads),"head_dim":\(s.headDim),
         "vocab_size":\(s.vocabulary),"torch_dtype":"float32","sliding_window":null\(members)}
        """.utf8))
    model = try HuggingFaceDirectory(path: directory.path)
  }

  static func llama(_ type: String = "llama", biases: Bool = false) -> [String: [Int]] {
    let s = sizes
    let (q, kv) = (s.heads * s.headDim, s.keyValueHeads * s.headDim)
    var shapes = ["model.embed_tokens.weight": [s.vocabulary, s.hidden], "model.norm.weight": [s.hidden]]
    shapes["lm_head.weight"] = [s.vocabulary, s.hidden]
    for layer in 0..<s.layers {
      let prefix = "model.layers.\(layer)."
      for (name, shape) in [
        ("input_layernorm", [s.hidden]), ("post_attention_layernorm", [s.hidden]),
        ("self_attn.q_proj", [q, s.hidden]),
        ("self_attn.k_proj", [kv, s.hidden]), ("self_attn.v_proj", [kv, s.hidden]),
        ("self_attn.o_proj", [s.hidden, q]),
        ("mlp.gate_proj", [s.ffn, s.hidden]), ("mlp.up_proj", [s.ffn, s.hidden]),
        ("mlp.down_proj", [s.hidden, s.ffn]),
      ] { shapes["\(prefix)\(name).weight"] = shape }
      for (name, rows) in [("q", q), ("k", kv), ("v", kv)] where biases {
        shapes["\(prefix)self_attn.\(name)_proj.bias"] = [rows]
      }
    }
    return shapes
  }

  /// The elements of a tensor, by rows.
  func rows(_ name: String) -> [[Float]] {
    let index = shapes.keys.sorted().firstIndex(of: name)!
    let shape = shapes[name]!
    let cols = shape.count > 1 ? shape[1] : 1
    return (0..<shape[0]).map { row in (0..<cols).map { Float(index * 4096 + row * cols + $0) } }
  }

  func plan(tp: Int, pp: Int = 1, divisor: Int = 4) throws -> MegatronModel {
    try MegatronModel(
      model, layout: try ParallelLayout(tp: tp, pp: pp, dtype: .float32), vocabularyDivisor: divisor)
  }
}

private func floats(_ tensor: TensorExpression) throws -> [Float] {
  let bytes = try tensor.bytes()
  return bytes.withUnsafeBytes { Array($0.assumingMemoryBound(to: Float.self)) }
}

@Suite struct ModelFamilyTests {
  /// MDS's rules, done row by row (`tools/hf2megads_weight_converter.py`: `refactor`).
  private func expected(_ model: TinyModel, _ name: String, layer: Int, tp: Int, of size: Int) -> [Float] {
    let s = TinyModel.sizes
    func rows(_ tensor: String) -> [[Float]] { model.rows("model.layers.\(layer).\(tensor)") }
    func columns(_ tensor: String) -> [Float] {
      rows(tensor).flatMap { row in row[(tp * row.count / size)..<((tp + 1) * row.count / size)] }
    }
    func attention(_ suffix: String) -> [Float] {
      let (q, k, v) = (
        rows("self_attn.q_proj.\(suffix)"), rows("self_attn.k_proj.\(suffix)"),
        rows("self_attn.v_proj.\(suffix)")
      )
      let groups = s.keyValueHeads / size
      let queries = s.heads / s.keyValueHeads * s.headDim
      var result: [Float] = []
      for group in (tp * groups)..<((tp + 1) * groups) {
        result += q[(group * queries)..<((group + 1) * queries)].joined()
        result += k[(group * s.headDim)..<((group + 1) * s.headDim)].joined()
        result += v[(group * s.headDim)..<((group + 1) * s.headDim)].joined()
      }
      return result
    }
    switch name {
    case "input_layernorm.weight", "post_attention_layernorm.weight": return rows(name).flatMap { $0 }
    case "self_attention.query_key_value.weight": return attention("weight")
    case "self_attention.query_key_value.bias": return attention("bias")
    case "self_attention.dense.weight": return columns("self_attn.o_proj.weight")
    case "mlp.dense_4h_to_h.weight": return columns("mlp.down_proj.weight")
    case "mlp.dense_h_to_4h.weight":
      let f = s.ffn / size
      return ["gate", "up"].flatMap { rows("mlp.\($0)_proj.weight")[(tp * f)..<((tp + 1) * f)].joined() }
    case "self_attention.dense.bias", "mlp.dense_4h_to_h.bias": return [Float](repeating: 0, count: s.hidden)
    case "mlp.dense_h_to_4h.bias": return [Float](repeating: 0, count: 2 * s.ffn / size)
    default: return []
    }
  }

  @Test(arguments: ["llama", "qwen2"], [1, 2])
  func aLayerIsWhatMegatronHas(type: String, size: Int) throws {
    let model = try TinyModel(type, shapes: TinyModel.llama(biases: type == "qwen2"))
    let plan = try model.plan(tp: size)
    for layer in 0..<TinyModel.sizes.layers {
      for tp in 0..<size {
        for parameter in plan.parameters(of: .layer(layer), tp: tp) {
          let wanted = expected(model, parameter.name, layer: layer, tp: tp, of: size)
          #expect(try floats(parameter.tensor) == wanted, "\(parameter.name) of rank \(tp), layer \(layer)")
          #expect(parameter.tensor.shape.reduce(1, *) == wanted.count)
        }
      }
    }
    let biases = plan.parameters(of: .layer(0), tp: 0).map(\.name).filter { $0.hasSuffix("bias") }
    #expect(biases.count == (type == "qwen2" ? 4 : 0))
  }

  @Test func theVocabularyIsPadded() throws {
    let model = try TinyModel("llama", shapes: TinyModel.llama())
    let plan = try model.plan(tp: 2, divisor: 7)
    let all = try (0..<2).flatMap { try floats(plan.parameters(of: .embedding, tp: $0)[0].tensor) }
    let real = model.rows("model.embed_tokens.weight").flatMap { $0 }
    #expect(all == real + [Float](repeating: 0, count: 14 * 8 - real.count))
  }

  /// The way back is the inverse, and the parts of the ranks tile each parameter once.
  @Test(arguments: ["llama", "qwen2"], [(1, 1), (2, 1), (2, 3), (1, 2)])
  func thereAndBack(type: String, layout: (tp: Int, pp: Int)) throws {
    let model = try TinyModel(type, shapes: TinyModel.llama(biases: type == "qwen2"))
    let plan = try model.plan(tp: layout.tp, pp: layout.pp)
    let back = HuggingFaceTensors(plan.geometry)
    #expect(back.names == model.shapes.keys.sorted())
    for name in back.names {
      #expect(back.shape(of: name) == model.shapes[name])
      let tensor = back.tensor(name) { module, entry, tp in
        plan.parameters(of: module, tp: tp).first { $0.name == entry }!.tensor
      }
      #expect(try floats(tensor) == model.rows(name).flatMap { $0 }, "\(name)")
    }
    for module in plan.geometry.allModules {
      for entry in plan.table.entries(of: module) {
        let elements = entry.sharding.shape(plan.geometry.parallelism).reduce(1, *)
        for tp in 0..<layout.tp {
          let covered = entry.sharding.blocks(plan.geometry.parallelism, tp: tp).reduce(0) {
            $0 + $1.part.rows.count * $1.part.columns.count
          }
          let isPadded = if case .vocabulary = entry.sharding { true } else { false }
          #expect(covered == elements || isPadded, "\(entry.name)")
        }
      }
    }
  }

  @Test func sizesThatTPMustDivide() throws {
    let model = try TinyModel("llama", shapes: TinyModel.llama())
    #expect(
      throws: LayoutError.tensorParallel(tp: 4, what: "key-value heads", count: 2, allowed: [1, 2])
    ) { try model.plan(tp: 4) }
    #expect(throws: LayoutError.pipelineParallel(pp: 4, layers: 3)) { try model.plan(tp: 1, pp: 4) }
  }

  @Test func aTensorWithoutAPlaceIsRefused() throws {
    var shapes = TinyModel.llama()
    shapes["model.layers.1.self_attn.extra.weight"] = [3]
    let model = try TinyModel("llama", shapes: shapes)
    #expect(throws: SourceError.self) { try model.plan(tp: 1) }
  }

  @Test func unknownFamilies() throws {
    let model = try TinyModel("unheard_of", shapes: TinyModel.llama())
    #expect(throws: ModelError.unknownModelType("unheard_of", path: "\(model.directory.path)/config.json")) {
      try model.plan(tp: 1)
    }
  }
}
