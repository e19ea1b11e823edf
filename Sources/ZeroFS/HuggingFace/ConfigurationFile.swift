import Bytes
import FoundationEssentials

/// `config.json` of any model: the members that every family has, under the names that families give them.
package struct ConfigurationFile: Sendable {
  package let path: String
  package let contents: [UInt8]
  package let modelType: String
  /// The dtype that the model was saved in; `nil` where it isn't said.
  package let dtype: DType?
  package let layers: Int?
  package let hiddenSize: Int?
  package let vocabularySize: Int?
  /// `nil` means what transformers 5 means by it: untied, except in families whose own default differs.
  package let tieWordEmbeddings: Bool?

  // Names as in the file; GPT-2 has its own.
  // swift-format-ignore: AlwaysUseLowerCamelCase
  private struct File: Decodable {
    let model_type: String
    let dtype: String?
    let torch_dtype: String?
    let num_hidden_layers: Int?
    let n_layer: Int?
    let hidden_size: Int?
    let n_embd: Int?
    let vocab_size: Int?
    let tie_word_embeddings: Bool?
  }

  /// - Throws: `SourceError` if the file can't be read, or isn't a model's configuration.
  package init(_ source: any StoredFile) throws(SourceError) {
    path = source.path
    contents = try HuggingFaceDirectory.contents(of: source)
    let file: File
    do { file = try JSONDecoder().decode(File.self, from: Data(contents)) } catch {
      throw .malformedJSON(path: path, why: "not a model configuration (\(decodingProblem(error)))")
    }
    modelType = file.model_type
    let dtypeName = file.dtype ?? file.torch_dtype
    dtype = dtypeName.flatMap { name in DType.allCases.first { $0.torchName == name } }
    if let dtypeName, dtype == nil { throw .malformedJSON(path: path, why: "dtype is \"\(dtypeName)\"") }
    layers = file.num_hidden_layers ?? file.n_layer
    hiddenSize = file.hidden_size ?? file.n_embd
    vocabularySize = file.vocab_size
    tieWordEmbeddings = file.tie_word_embeddings
  }
}
