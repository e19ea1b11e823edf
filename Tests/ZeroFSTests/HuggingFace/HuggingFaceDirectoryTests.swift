import Foundation
import Testing

@testable import Bytes
@testable import HuggingFace

@Suite struct HuggingFaceDirectoryTests {
  private let directory: TemporaryDirectory

  init() throws { directory = try TemporaryDirectory() }

  /// Tensors of one element each, in this order.
  private func weights(_ tensors: [(name: String, dtype: DType)]) -> [UInt8] {
    var (offset, entries): (Int, [String]) = (0, [])
    for (name, dtype) in tensors {
      entries.append(
        #""\#(name)":{"dtype":"\#(dtype.rawValue)","shape":[1],"data_offsets":[\#(offset),\#(offset + dtype.size)]}"#
      )
      offset += dtype.size
    }
    return safetensors(
      header: "{\(entries.joined(separator: ","))}", data: [UInt8](repeating: 0, count: offset))
  }

  private func write(
    _ weights: [UInt8], _ configuration: String = #"{"model_type":"llama","num_hidden_layers":1}"#
  ) throws {
    try directory.write("config.json", configuration.utf8)
    try directory.write("model.safetensors", weights)
  }

  private func error() throws -> String {
    let path = directory.path
    return
      "\(try #require(throws: SourceError.self) { try HuggingFaceDirectory(path: path).requireLayers() })"
  }

  private func link(_ name: String, to target: String) throws {
    try FileManager.default.createSymbolicLink(
      atPath: "\(directory.path)/\(name)", withDestinationPath: target)
  }

  // dtype

  @Test func theDTypeIsThatOfTheFirstFloatingPointTensor() throws {
    try write(weights([("z.0.weight", .bfloat16), ("b.weight", .float32), ("a.mask", .uint8)]))
    let model = try HuggingFaceDirectory(path: directory.path)
    #expect(try model.dtype() == .float32)
    #expect(model.warnings(servedAs: .float32).first?.contains("BF16 and F32") == true)
    #expect(model.warnings(servedAs: .bfloat16).isEmpty)
  }

  @Test func maskAndFrequenciesAreNoMixture() throws {
    try write(weights([("a.mask", .uint8), ("m.0.weight", .float16), ("m.0.rotary_emb.inv_freq", .float32)]))
    #expect(try HuggingFaceDirectory(path: directory.path).dtype() == .float32)
    #expect(try HuggingFaceDirectory(path: directory.path).warnings(servedAs: .float16).isEmpty)
  }

  @Test func doublesNeedADType() throws {
    try write(weights([("m.0.weight", .float64)]))
    let model = try HuggingFaceDirectory(path: directory.path)
    let error = try #require(throws: SourceError.self) { try model.dtype() }
    #expect("\(error)".contains("--dtype"))
    #expect(try model.tensor("m.0.weight").dtype == .float64)
  }

  // Names

  @Test func theBaseModelsNamesAreTried() throws {
    try write(weights([("layers.0.x.weight", .float32), ("norm.weight", .float32)]))
    let model = try HuggingFaceDirectory(path: directory.path)
    #expect(model.sourceName(of: "model.layers.0.x.weight") == "layers.0.x.weight")
    #expect(model.sourceName(of: "model.other.weight") == "model.other.weight")
  }

  @Test func aWholeModelsNamesAreNot() throws {
    try write(weights([("model.layers.0.x", .float32), ("norm.weight", .float32)]))
    #expect(
      try HuggingFaceDirectory(path: directory.path).sourceName(of: "model.norm.weight")
        == "model.norm.weight")
  }

  @Test(arguments: [
    ("model.x", ["module.model.0.x", "module.lm_head.weight"], "begin with module."),
    ("model.x", ["_orig_mod.model.0.x"], "begin with _orig_mod."),
    ("model.x", ["model.0.q_proj.base_layer.weight"], "merge_and_unload"),
    ("lm_head.weight", ["model.0.x", "score.weight"], "of a LlamaForSequenceClassification"),
    ("model.x", ["model.0.x"], "no shard is missing"),
  ])
  func whyATensorIsMissing(name: String, held: [String], words: String) throws {
    try write(
      weights(held.map { ($0, .float32) }),
      #"{"model_type":"llama","num_hidden_layers":1,"architectures":["LlamaForSequenceClassification"]}"#)
    let model = try HuggingFaceDirectory(path: directory.path)
    let error = try #require(throws: SourceError.self) { try model.tensor(name, shape: [1]) }
    #expect("\(error)".contains(words), "\(error)")
  }

  @Test func anUntiedModelWithoutHead() throws {
    try write(weights([("model.0.x", .float32)]))
    let model = try HuggingFaceDirectory(path: directory.path)
    let error = try #require(throws: SourceError.self) { try model.tensor("lm_head.weight", shape: [1]) }
    #expect("\(error)".contains("tie_word_embeddings"), "\(error)")
  }

  // Sizes

  @Test func layersAreHeldAgainstTheFiles() throws {
    try write(
      weights([("model.layers.3.x", .float32)]), #"{"model_type":"llama","num_hidden_layers":16777215}"#)
    #expect(try error().contains("says 16777215 layers, and the files hold 4"))
  }

  // Paths and links

  @Test(arguments: ["../x", "/etc/x", "a/../../x", "..", "a//b", "", "..\u{338}/../x", "../\u{338}x", "a\0b"])
  func shardsOutside(shard: String) throws {
    try directory.write("config.json", #"{"model_type":"llama"}"#.utf8)
    let escaped = String(decoding: try JSONEncoder().encode(["t": shard]), as: UTF8.self)
    try directory.write("model.safetensors.index.json", #"{"weight_map":\#(escaped)}"#.utf8)
    #expect(try error().contains("leaves the directory"))
  }

  @Test func aTensorThatTheIndexHasTwice() throws {
    try directory.write("config.json", #"{"model_type":"llama"}"#.utf8)
    try directory.write("model.safetensors.index.json", #"{"weight_map":{"t":"a","t":"b"}}"#.utf8)
    #expect(try error().contains("has t twice"))
  }

  @Test func linksOutOfTheDirectory() throws {
    let other = try TemporaryDirectory()
    let target = try other.write("secret.safetensors", weights([("model.0.x", .float32)]))
    try directory.write("config.json", #"{"model_type":"llama"}"#.utf8)
    try link("model.safetensors", to: target)
    #expect(try error().contains("outside of the model directory"))
    #expect(try HuggingFaceDirectory(path: directory.path, followsLinks: true).holds("model.0.x"))
    try FileManager.default.removeItem(atPath: directory.path + "/model.safetensors")
    try directory.write("model.safetensors", weights([("model.0.x", .float32)]))
    try link("tokenizer.json", to: target)
    let model = try HuggingFaceDirectory(path: directory.path)
    let error = try #require(throws: SourceError.self) { try model.companions() }
    #expect("\(error)".contains("tokenizer.json"))
  }

  @Test func linksInsideAndIntoTheHubsCache() throws {
    for folder in ["blobs", "snapshots/0123", "blobsx"] {
      try FileManager.default.createDirectory(
        atPath: "\(directory.path)/\(folder)", withIntermediateDirectories: true)
    }
    let snapshot = directory.path + "/snapshots/0123"
    try directory.write("blobs/c", #"{"model_type":"llama"}"#.utf8)
    try directory.write("blobs/w", weights([("model.0.x", .float32)]))
    try directory.write("blobsx/w", weights([("model.0.x", .float32)]))
    try link("snapshots/0123/config.json", to: "../../blobs/c")
    try link("snapshots/0123/model.safetensors", to: "../../blobs/w")
    #expect(try HuggingFaceDirectory(path: snapshot).tensorCount == 1)
    try FileManager.default.removeItem(atPath: snapshot + "/model.safetensors")
    try link("snapshots/0123/model.safetensors", to: "../../blobsx/w")
    #expect(throws: SourceError.self) { try HuggingFaceDirectory(path: snapshot) }
    try FileManager.default.removeItem(atPath: snapshot + "/model.safetensors")
    try link("snapshots/0123/model.safetensors", to: "../../blobs/gone")
    let error = try #require(throws: SourceError.self) { try HuggingFaceDirectory(path: snapshot) }
    guard case .danglingLink = error else {
      Issue.record("\(error)")
      return
    }
  }

  // What isn't a model

  @Test(arguments: [
    (["adapter_config.json"], "PEFT adapter"), (["model.gguf"], "GGUF"),
    (["config.json", "pytorch_model.bin"], "torch.save"),
    (["params.json", "consolidated.00.pth"], "own layout"), (["latest", "config.json"], "DeepSpeed"),
    (["refs/main", "snapshots/0123/config.json"], "snapshots/0123"),
    (["models--a--b/refs/main"], "Hub's cache"),
    (["inner/config.json"], "but in inner"), ([], "config.json: No such file"),
    (["config.json"], "neither model.safetensors"),
  ])
  func otherDirectories(files: [String], words: String) throws {
    for file in files {
      let parent = (file as NSString).deletingLastPathComponent
      try FileManager.default.createDirectory(
        atPath: "\(directory.path)/\(parent)", withIntermediateDirectories: true)
      try directory.write(file, #"{"model_type":"llama"}"#.utf8)
    }
    #expect(try error().contains(words))
  }

  @Test(arguments: [
    ("version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 5\n", "git lfs pull"),
    ("GGUF\u{3}\0\0\0", "llama.cpp"),
    ("<!DOCTYPE html><html>", "web page"), ("PK\u{3}\u{4}xxxxxxxx", "torch.save"),
  ])
  func foreignFiles(contents: String, words: String) throws {
    try write(Array(contents.utf8))
    #expect(try error().contains(words))
    try write(weights([("model.0.x", .float32)]), contents)
    #expect(try error().contains(words))
  }

  @Test(arguments: ["no/such", "https://huggingface.co/no/such/tree/main", "hf://no/such"])
  func hubIDs(path: String) throws {
    let error = try #require(throws: SourceError.self) { try HuggingFaceDirectory(path: path) }
    #expect(
      "\(error)".contains("hf download no/such,") || "\(error)".contains("`hf download no/such`"), "\(error)")
  }

  @Test(arguments: [
    (EMFILE, "ulimit -n"), (EACCES, "let that user read it"), (ENOTCONN, "unmount it"),
    (ENOENT, "save_pretrained"),
  ])
  func adviceByCause(code: Int32, words: String) {
    let error = SourceError.unreadable(.io(path: "x", offset: 0, errno: code))
    #expect("\(error)".contains(words) && "\(error)".components(separatedBy: "x:").count == 2)
  }
}
