import Bytes

/// `config.json` of any model: what it says before anyone knows what the family means by it.
package struct ConfigurationFile: Sendable {
  package let path: String
  package let contents: [UInt8]
  package let members: JSON.Members
  /// As transformers' `AutoConfig` takes it: `mistral` with `layer_types` is `ministral`.
  package let modelType: String
  /// The classes that the weights are of; the first is the one that was saved.
  package let architectures: [String]
  /// Whether the directory brings Python code of its own (`auto_map`).
  package let hasRemoteCode: Bool
  /// Names that some object of the file has more than once. The last of them counts, as Python reads it.
  package let duplicates: [String]
  /// `dtype`, else `torch_dtype`; `nil` where neither says anything.
  private let declaredDType: JSON?

  package init(_ source: any StoredFile) throws(SourceError) {
    try self.init(contents: try HuggingFaceDirectory.contents(of: source), path: source.path)
  }

  /// - Throws: `SourceError` if it isn't a model's configuration.
  package init(contents: [UInt8], path: String) throws(SourceError) {
    self.path = path
    self.contents = contents
    var reader = JSONReader(contents)
    let json: JSON
    do { json = try reader.document() } catch {
      throw .malformedJSON(path: path, why: "not JSON: there is \(error)")
    }
    guard let members = json.members else {
      throw .malformedJSON(path: path, why: "not a model configuration, but \(json.excerpt)")
    }
    self.members = members
    duplicates = reader.duplicates
    guard let type = members["model_type"]?.string else {
      throw .malformedJSON(path: path, why: "not a model configuration: no model_type")
    }
    modelType = type == "mistral" && members["layer_types"] != nil ? "ministral" : type
    architectures = members["architectures"]?.elements?.compactMap(\.string) ?? []
    hasRemoteCode = members["auto_map"]?.members != nil
    declaredDType = [members["dtype"], members["torch_dtype"]].lazy.compactMap { $0 }.first { !$0.isNull }
  }

  package subscript(name: String) -> JSON? { members[name] }

  /// The object of a language model inside one of several, else all.
  private var text: JSON.Members { members["text_config"]?.members ?? members }

  /// The dtype that the model was saved in; `nil` where it isn't said.
  ///
  /// - Throws: `SourceError.dtype` for one that no run trains in.
  package func dtype() throws(SourceError) -> DType? {
    guard let declaredDType else { return nil }
    // Names of the `torch` module, which transformers looks up there.
    switch declaredDType.string {
    case "bfloat16": return .bfloat16
    case "float16", "half": return .float16
    case "float32", "float": return .float32
    default: throw .dtype(declaredDType.excerpt, path: path)
    }
  }

  package var layers: Int? {
    ["num_hidden_layers", "n_layer", "num_layers"].lazy.compactMap { text[$0]?.int }.first
  }
  package var hiddenSize: Int? { ["hidden_size", "n_embd"].lazy.compactMap { text[$0]?.int }.first }
  package var vocabularySize: Int? { text["vocab_size"]?.int }
  /// `nil` means what the family's class means by it.
  package var tieWordEmbeddings: Bool? { members["tie_word_embeddings"]?.bool }

  /// `quant_method` of a quantized model.
  package var quantization: String? {
    for name in ["quantization_config", "compression_config"] {
      guard let value = members[name], !value.isNull else { continue }
      return JSON.excerpt(value["quant_method"]?.string ?? "unknown")
    }
    return nil
  }

  /// Things that the file says twice, and differently.
  package var warnings: [String] {
    var warnings: [String] = []
    if !duplicates.isEmpty {
      let names = duplicates.map(JSON.excerpt).joined(separator: ", ")
      warnings.append("config.json has \(names) more than once: the last one is served, as Python reads it.")
    }
    if let dtype = members["dtype"], let old = members["torch_dtype"], !dtype.isNull, !old.isNull,
      dtype != old
    {
      warnings.append(
        "config.json says dtype \(dtype.excerpt) and torch_dtype \(old.excerpt): dtype is served, as transformers takes it."
      )
    }
    return warnings
  }

  func malformed(_ why: String) -> SourceError { .malformedJSON(path: path, why: why) }

  /// A number, also one that JSON can't write and transformers 5 tags (`configuration_utils.py`: `_FLOAT_TAG_KEY`).
  ///
  /// - Returns: `nil` for null.
  func number(_ value: JSON, _ name: String) throws(SourceError) -> Double? {
    if value.isNull { return nil }
    if let number = value.number { return number }
    switch value["__float__"]?.string {
    case "NaN": return .nan
    case "Infinity": return .infinity
    case "-Infinity": return -.infinity
    default: throw malformed("\(name) is \(value.excerpt), not a number")
    }
  }
}
