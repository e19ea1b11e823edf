import Bytes
import Glibc
import HuggingFace

/// What inputs are read beside, and where those go that are files.
struct Fixture {
  /// A directory of its own.
  private let directory: String
  let model: HuggingFaceDirectory

  init() throws {
    let parent = getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp"
    var template = Array("\(parent)/zerofs-fuzz-XXXXXX".utf8CString)
    guard let path = mkdtemp(&template) else { throw Problem("mkdtemp: \(errno)") }
    directory = String(cString: path)
    // No input may find another file by a relative name.
    guard chdir(directory) == 0 else { throw Problem("chdir: \(errno)") }
    model = try HuggingFaceDirectory(
      MemoryModel(configuration: Fixture.configuration, header: Array(Fixture.header.utf8)))
    try write([1, 2, 3], "latest")
  }

  private func write(_ bytes: [UInt8], _ name: String) throws {
    let path = "\(directory)/\(name)"
    let file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
    guard file >= 0 else { throw Problem("\(path): \(errno)") }
    defer { close(file) }
    guard bytes.withUnsafeBytes({ writeAll($0, to: file) }) == nil else { throw Problem("\(path): \(errno)") }
  }

  /// The path of a file that holds `input`.
  func file(_ input: [UInt8]) throws -> String {
    try write(input, "input")
    return "\(directory)/input"
  }

  /// The path of a tree whose manifest `input` is.
  func manifest(_ input: [UInt8]) throws -> String {
    try write(input, "zerofs-manifest.json")
    return directory
  }

  func remove() {
    for name in ["input", "zerofs-manifest.json", "latest"] { unlink("\(directory)/\(name)") }
    rmdir(directory)
  }

  static let configuration = Array(
    """
    {"model_type":"llama","architectures":["LlamaForCausalLM"],"hidden_size":8,"intermediate_size":12,
    "num_hidden_layers":1,"num_attention_heads":2,"num_key_value_heads":1,"vocab_size":10,
    "max_position_embeddings":16,"rms_norm_eps":1e-5,"torch_dtype":"bfloat16","tie_word_embeddings":true}
    """.utf8)

  /// Of a model of that configuration.
  static let header = {
    let shapes = [
      ("model.embed_tokens.weight", [10, 8]), ("model.norm.weight", [8]),
      ("model.layers.0.input_layernorm.weight", [8]), ("model.layers.0.post_attention_layernorm.weight", [8]),
      ("model.layers.0.self_attn.q_proj.weight", [8, 8]), ("model.layers.0.self_attn.k_proj.weight", [4, 8]),
      ("model.layers.0.self_attn.v_proj.weight", [4, 8]), ("model.layers.0.self_attn.o_proj.weight", [8, 8]),
      ("model.layers.0.mlp.gate_proj.weight", [12, 8]), ("model.layers.0.mlp.up_proj.weight", [12, 8]),
      ("model.layers.0.mlp.down_proj.weight", [8, 12]),
    ]
    var (entries, end): ([String], Int) = ([], 0)
    for (name, shape) in shapes {
      let start = end
      end += 2 * shape.reduce(1, *)
      entries.append(#""\#(name)":{"dtype":"BF16","shape":\#(shape),"data_offsets":[\#(start),\#(end)]}"#)
    }
    return "{\(entries.joined(separator: ","))}"
  }()

  /// A safetensors file of two tensors.
  static let shard = {
    let header = Array(
      #"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"BF16","shape":[1,2],"data_offsets":[8,12]}}"#
        .utf8)
    return withUnsafeBytes(of: UInt64(header.count).littleEndian) { Array($0) } + header
      + [UInt8](repeating: 7, count: 12)
  }()

  /// A zip file as torch.save writes it, whose storages 0 and 1 have 16 bytes.
  static func torchFile(pickle: [UInt8]) -> [UInt8] {
    var (file, directory): ([UInt8], [UInt8]) = ([], [])
    func number(_ value: Int, bytes: Int) -> [UInt8] {
      (0..<bytes).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
    }
    let records = [
      ("x/data.pkl", pickle), ("x/byteorder", Array("little".utf8)),
      ("x/data/0", [UInt8](repeating: 1, count: 16)),
      ("x/data/1", [UInt8](repeating: 2, count: 16)),
    ]
    for (name, bytes) in records {
      let start = file.count
      let common =
        number(0, bytes: 12) + number(bytes.count, bytes: 4) + number(bytes.count, bytes: 4)
        + number(name.utf8.count, bytes: 2) + number(0, bytes: 2)
      file += [0x50, 0x4B, 3, 4, 20, 0] + common + Array(name.utf8) + bytes
      directory +=
        [0x50, 0x4B, 1, 2, 20, 0, 20, 0] + common + number(0, bytes: 10) + number(start, bytes: 4)
        + Array(name.utf8)
    }
    let start = file.count
    return file + directory + [0x50, 0x4B, 5, 6, 0, 0, 0, 0] + number(records.count, bytes: 2)
      + number(records.count, bytes: 2) + number(directory.count, bytes: 4) + number(start, bytes: 4) + [
        0, 0,
      ]
  }
}

/// What must not happen.
struct Problem: Error, CustomStringConvertible {
  let description: String
  init(_ description: String) { self.description = description }
}
