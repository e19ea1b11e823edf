import Foundation

@testable import Bytes
@testable import Checkpoints
@testable import HuggingFace

/// A tiny model directory of any family, whose every element has a value of its own: `tensor number * 4096 + index`, in fp32.
struct TinyModel {
  let directory = try! TemporaryDirectory()
  let type: String
  let shapes: [String: [Int]]
  let model: HuggingFaceDirectory
  private let copies: [String: String]

  static let sizes = (
    hidden: 32, ffn: 12, layers: 3, heads: 4, keyValueHeads: 2, headDim: 8, vocabulary: 10, positions: 16
  )

  /// - Parameters:
  ///   - biased: whether the files have the biases that the configuration decides.
  ///   - copying: tensors that hold what another one holds.
  init(
    _ type: String, modelType: String? = nil, biased: Bool = false, members: [String: Any] = [:],
    copying: [String: String] = [:], extra: [String: [Int]] = [:]
  ) throws {
    let json = Self.configuration(type).merging(members) { $1 }
    let text = try JSONSerialization.data(withJSONObject: json)
    let file = try ConfigurationFile(contents: Array(text), path: "config.json")
    let family = ModelFamily(modelType: type)!
    let c = try ModelConfiguration(file, keys: family.keys)
    let table = try ParameterTable(family, c, isTied: c.tieWordEmbeddings) { _ in biased }
    let named = table.tensors.map { ($0.name, $0.storedShape) }
    let shapes = Dictionary(named) { one, _ in one }.merging(extra) { $1 }
    var header: [String] = []
    var data: [UInt8] = []
    for (name, shape) in shapes.sorted(by: { $0.key < $1.key }) {
      let start = data.count
      for element in 0..<shape.reduce(1, *) {
        let value = Self.value(copying[name] ?? name, element, shapes)
        data += withUnsafeBytes(of: value) { Array($0) }
      }
      header.append(
        #""\#(name)":{"dtype":"F32","shape":\#(shape),"data_offsets":[\#(start),\#(data.count)]}"#)
    }
    try directory.write(
      "model.safetensors", safetensors(header: "{" + header.joined(separator: ",") + "}", data: data))
    var written = json
    if let modelType { written["model_type"] = modelType }
    try directory.write("config.json", Array(try JSONSerialization.data(withJSONObject: written)))
    (self.type, self.shapes, copies) = (type, shapes, copying)
    model = try HuggingFaceDirectory(path: directory.path)
  }

  /// Under the names of all families.
  private static func configuration(_ type: String) -> [String: Any] {
    let s = sizes
    var json: [String: Any] = ["model_type": type, "torch_dtype": "float32", "sliding_window": NSNull()]
    for (names, value) in [
      (["hidden_size", "n_embd"], s.hidden), (["intermediate_size", "n_inner"], s.ffn),
      (["num_hidden_layers", "n_layer", "num_layers"], s.layers),
      (["num_attention_heads", "n_head", "num_heads"], s.heads), (["num_key_value_heads"], s.keyValueHeads),
      (["head_dim"], s.headDim), (["vocab_size"], s.vocabulary),
      (["max_position_embeddings", "n_positions"], s.positions),
    ] { for name in names { json[name] = value } }
    if !["gpt2", "gpt_bigcode", "gpt_neo"].contains(type) { json["tie_word_embeddings"] = type == "granite" }
    let own: [String: [String: Any]] = [
      "gpt_neo": ["attention_types": [[["global", "local", "global"], 1]]],
      "gpt_neox": ["use_parallel_residual": false, "rotary_pct": 0.5],
      "gpt_bigcode": ["multi_query": false],
      "baichuan": ["architectures": ["BaiChuanForCausalLM"]], "glm": ["partial_rotary_factor": 0.5],
      "granite": [
        "attention_multiplier": 0.3, "embedding_multiplier": 12, "residual_multiplier": 0.22,
        "logits_scaling": 8,
      ],
      "minicpm": ["scale_emb": 12, "dim_model_base": 8, "scale_depth": 1.4],
      "seed_oss": ["attention_bias": false],
    ]
    return json.merging(own[type] ?? [:]) { $1 }
  }

  private static func value(_ name: String, _ element: Int, _ shapes: [String: [Int]]) -> Float {
    Float(shapes.keys.sorted().firstIndex(of: name)! * 4096 + element)
  }

  /// The elements of a tensor, by rows; `nil` where there is none.
  func stored(_ name: String) -> [[Float]]? {
    guard let shape = shapes[name] else { return nil }
    let cols = shape.count > 1 ? shape[1] : 1
    return (0..<shape[0]).map { row in
      (0..<cols).map { Self.value(copies[name] ?? name, row * cols + $0, shapes) }
    }
  }

  func rows(_ name: String) -> [[Float]] { stored(name)! }

  func plan(tp: Int, pp: Int = 1, divisor: Int = 2) throws -> MegatronModel {
    try MegatronModel(
      model, layout: try ParallelLayout(tp: tp, pp: pp, dtype: .float32), vocabularyDivisor: divisor)
  }
}
