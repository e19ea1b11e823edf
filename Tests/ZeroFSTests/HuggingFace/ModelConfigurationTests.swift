import Testing

@testable import Bytes
@testable import Checkpoints
@testable import HuggingFace

@Suite struct ModelConfigurationTests {
  private func configuration(_ members: String, of type: String = "llama") throws -> ModelConfiguration {
    let sizes =
      #""hidden_size":64,"intermediate_size":176,"num_hidden_layers":4,"num_attention_heads":8,"vocab_size":259"#
    return try read(#"{"model_type":"\#(type)",\#(sizes)\#(members)}"#)
  }

  private func read(_ text: String) throws -> ModelConfiguration {
    let file = try ConfigurationFile(contents: Array(text.utf8), path: "config.json")
    return try ModelConfiguration(file, keys: try #require(ModelFamily.keys(of: file.modelType)))
  }

  private func dtype(_ members: String) throws -> DType? {
    try ConfigurationFile(contents: Array(#"{"model_type":"llama"\#(members)}"#.utf8), path: "config.json")
      .dtype()
  }

  @Test func defaultsOfLlamaConfig() throws {
    let c = try configuration("")
    #expect(c.keyValueHeads == 8)
    #expect(c.headDim == 8)
    #expect(c.rope?.theta == 10_000)
    #expect(c.rope?.type == "default")
    #expect(c.normEps == 1e-6)
    #expect(!c.tieWordEmbeddings)
    #expect(try dtype("") == nil)
  }

  @Test func transformers4() throws {
    let c = try configuration(
      #","rope_theta":500000.0,"rope_scaling":{"rope_type":"llama3","factor":8.0,"low_freq_factor":1.0,"high_freq_factor":4.0},"sliding_window":null"#
    )
    #expect(c.rope?.theta == 500_000)
    #expect(c.rope?.type == "llama3")
    #expect(c.slidingWindow == nil)
  }

  @Test func transformers5() throws {
    let c = try configuration(
      #","rope_parameters":{"rope_theta":100000,"rope_type":"default"},"head_dim":16"#)
    #expect(c.rope?.theta == 100_000)
    #expect(c.rope?.type == "default")
    #expect(c.headDim == 16)
  }

  @Test func slidingWindow() throws {
    #expect(try configuration(#","sliding_window":128"#, of: "mistral").slidingWindow == 128)
    #expect(try configuration(#","sliding_window":null"#, of: "mistral").slidingWindow == nil)
    #expect(try configuration("", of: "mistral").slidingWindow == 4096)
    #expect(try configuration(#","sliding_window":128"#, of: "llama").slidingWindow == nil)
  }

  @Test func oldSpellingOfRopeScaling() throws {
    #expect(try configuration(#","rope_scaling":{"type":"linear","factor":2.0}"#).rope?.type == "linear")
  }

  @Test(arguments: [
    ("num_key_value_heads is 0", #","num_key_value_heads":0"#),
    ("no multiple of num_key_value_heads 3", #","num_key_value_heads":3"#),
    ("head_dim is -1", #","head_dim":-1"#),
    ("tie_word_embeddings", #","tie_word_embeddings":"yes""#),
  ])
  func malformed(why: String, members: String) throws {
    let error = try #require(throws: SourceError.self) { try configuration(members) }
    #expect("\(error)".contains(why), "\(error)")
  }

  @Test func dtypes() throws {
    #expect(try dtype(#","torch_dtype":"bfloat16""#) == .bfloat16)
    #expect(try dtype(#","dtype":"half""#) == .float16)
    #expect(try dtype(#","dtype":"float32","torch_dtype":"bfloat16""#) == .float32)
    #expect(try dtype(#","dtype":null,"torch_dtype":"float""#) == .float32)
  }

  @Test(arguments: [
    #""float64""#, #""int8""#, #""bool""#, #""float8_e4m3fn""#, #""torch.bfloat16""#, #""auto""#, "5",
  ])
  func dtypesThatNoRunTrainsIn(name: String) throws {
    let error = try #require(throws: SourceError.self) { try dtype(#","torch_dtype":\#(name)"#) }
    #expect("\(error)".contains(name) && "\(error)".contains("--dtype"), "\(error)")
  }

  @Test func withoutModelType() throws {
    let error = try #require(throws: SourceError.self) { try read("{}") }
    #expect(error == .malformedJSON(path: "config.json", why: "not a model configuration: no model_type"))
  }

  @Test func theLastOfTwoMembersCounts() throws {
    let c = try configuration(#","rope_theta":10000.0,"rope_theta":500000.0"#)
    #expect(c.rope?.theta == 500_000)
    #expect(c.warnings.count == 1 && c.warnings[0].contains("rope_theta"))
  }

  @Test func membersOfOneFamilyOnly() throws {
    #expect(
      try configuration(#","embedding_multiplier":12.0"#, of: "granite")["embedding_multiplier"]?.number == 12
    )
  }

  @Test func textConfiguration() throws {
    let c = try read(
      #"{"model_type":"gemma3","tie_word_embeddings":false,"text_config":{"hidden_size":64,"num_hidden_layers":7}}"#
    )
    #expect((c.hiddenSize, c.layers, c.tieWordEmbeddings) == (64, 7, false))
    #expect(c.attention.filter { $0 == .full }.count == 1)
  }

  /// Nothing is made for each layer that a file claims.
  @Test(arguments: ["65536", "16777215", "9223372036854775807", "1e300"])
  func layersBeyondAnyModel(count: String) throws {
    let error = try #require(throws: SourceError.self) {
      try read(#"{"model_type":"gpt_neo","num_layers":\#(count),"attention_types":[[["local"],\#(count)]]}"#)
    }
    #expect("\(error)".contains("num_layers"), "\(error)")
  }
}
