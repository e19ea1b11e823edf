import Testing

@testable import Bytes
@testable import Checkpoints
@testable import HuggingFace

@Suite struct ModelConfigurationTests {
  private func configuration(_ members: String, of type: String = "llama") throws -> ModelConfiguration {
    let sizes =
      #""hidden_size":64,"intermediate_size":176,"num_hidden_layers":4,"num_attention_heads":8,"vocab_size":259"#
    return try ModelConfiguration(
      json: Array(#"{"model_type":"\#(type)",\#(sizes)\#(members)}"#.utf8), path: "config.json")
  }

  @Test func defaultsOfLlamaConfig() throws {
    let c = try configuration("")
    #expect(c.keyValueHeads == 8)
    #expect(c.headDim == 8)
    #expect(c.ropeTheta == 10_000)
    #expect(c.ropeScaling == nil)
    #expect(c.rmsNormEps == 1e-6)
    #expect(!c.tieWordEmbeddings)
    #expect(c.dtype == nil)
  }

  @Test func transformers4() throws {
    let c = try configuration(
      #","rope_theta":500000.0,"torch_dtype":"bfloat16","rope_scaling":{"rope_type":"llama3","factor":8.0},"sliding_window":null"#
    )
    #expect(c.ropeTheta == 500_000)
    #expect(c.dtype == .bfloat16)
    #expect(c.ropeScaling == "llama3")
    #expect(c.slidingWindow == nil)
  }

  @Test func transformers5() throws {
    let c = try configuration(
      #","rope_parameters":{"rope_theta":100000,"rope_type":"default"},"dtype":"float16","head_dim":16"#)
    #expect(c.ropeTheta == 100_000)
    #expect(c.dtype == .float16)
    #expect(c.ropeScaling == nil)
    #expect(c.headDim == 16)
  }

  @Test func slidingWindow() throws {
    #expect(try configuration(#","sliding_window":128"#, of: "mistral").slidingWindow == 128)
    #expect(try configuration(#","sliding_window":null"#, of: "mistral").slidingWindow == nil)
    #expect(try configuration("", of: "mistral").slidingWindow == 4096)
    #expect(try configuration(#","sliding_window":128"#, of: "llama").slidingWindow == nil)
  }

  @Test func oldSpellingOfRopeScaling() throws {
    #expect(try configuration(#","rope_scaling":{"type":"linear","factor":2.0}"#).ropeScaling == "linear")
  }

  @Test(arguments: [
    ("num_key_value_heads is 0", #","num_key_value_heads":0"#),
    ("no multiple of num_key_value_heads 3", #","num_key_value_heads":3"#),
    ("head_dim is -1", #","head_dim":-1"#),
    ("dtype is \"int4\"", #","dtype":"int4""#),
    ("tie_word_embeddings", #","tie_word_embeddings":"yes""#),
  ])
  func malformed(why: String, members: String) throws {
    let error = try #require(throws: SourceError.self) { try configuration(members) }
    #expect("\(error)".contains(why), "\(error)")
  }

  @Test func missingMember() throws {
    let error = try #require(throws: SourceError.self) {
      try ModelConfiguration(json: Array(#"{"model_type":"llama"}"#.utf8), path: "config.json")
    }
    #expect(error == .malformedJSON(path: "config.json", why: "no hidden_size"))
  }
}
