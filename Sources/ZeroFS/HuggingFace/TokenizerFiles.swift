import Bytes

/// How many tokens a tokenizer has, from the files that `save_pretrained` writes.
package struct TokenizerFiles: Sendable {
  /// `tokenizer.vocab_size`: of the model alone, which MDS's HFTokenizer takes (MDS `megatron/tokenizer/tokenizer.py`).
  package let modelTokens: Int
  /// `len(tokenizer)`: with added tokens that the model doesn't have.
  package let tokens: Int

  /// Of the tokenizer in `directory`: `tokenizer.json`, with what transformers adds from `tokenizer_config.json`
  /// (`tokenization_utils_tokenizers.py`: `PreTrainedTokenizerFast.__init__`).
  ///
  /// - Throws: `SourceError`.
  package init(directory: String) throws(SourceError) {
    let store = try DiskDirectory(directory)
    guard store.holds("tokenizer.json") else {
      throw .malformedJSON(
        path: directory,
        why: "there is no tokenizer.json, as tokenizer.save_pretrained() of transformers writes it")
    }
    let file = try TokenizerFiles.json(store, "tokenizer.json")
    let vocabulary = file["model"]?["vocab"]
    var names = Set(
      vocabulary?.members?.all.map(\.name) ?? vocabulary?.elements?.compactMap { $0.elements?.first?.string }
        ?? [])
    guard !names.isEmpty else {
      throw .malformedJSON(path: directory + "/tokenizer.json", why: "it has no model.vocab")
    }
    modelTokens = vocabulary?.elements?.count ?? names.count
    names.formUnion(file["added_tokens"]?.elements?.compactMap { $0["content"]?.string } ?? [])
    if store.holds("tokenizer_config.json") {
      names.formUnion(TokenizerFiles.added(by: try TokenizerFiles.json(store, "tokenizer_config.json")))
    }
    tokens = names.count
  }

  private static func json(_ store: DiskDirectory, _ name: String) throws(SourceError) -> JSON {
    let file = try store.file(name)
    do { return try JSON(try HuggingFaceDirectory.contents(of: file)) } catch let error as SourceError {
      throw error
    } catch { throw .malformedJSON(path: file.path, why: "not JSON: there is \(error)") }
  }

  private static let specialTokens = [
    "bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token",
  ]

  /// The texts of tokens that `tokenizer_config.json` names.
  private static func added(by configuration: JSON) -> [String] {
    func text(_ token: JSON?) -> String? { token?.string ?? token?["content"]?.string }
    let decoder = configuration["added_tokens_decoder"]?.members?.all.compactMap { text($0.value) } ?? []
    let special = specialTokens.compactMap { text(configuration[$0]) }
    let lists = ["additional_special_tokens", "extra_special_tokens"].flatMap {
      configuration[$0]?.elements?.compactMap(text) ?? configuration[$0]?.members?.all.compactMap {
        text($0.value)
      } ?? []
    }
    return decoder + special + lists
  }
}
