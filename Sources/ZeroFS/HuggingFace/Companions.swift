import Bytes

extension HuggingFaceDirectory {
  /// What else belongs to a model, beside configuration and weights: the tokenizer, the generation settings, code, a licence.
  ///
  /// - Throws: `SourceError.unreadable`, `SourceError.linkLeaves`.
  package func companions() throws(SourceError) -> [any StoredFile] {
    let known = Set((descriptions + files).map(name))
    let names = try store.names().filter { !known.contains($0) && HuggingFaceDirectory.isCompanion($0) }
    return try names.map { name throws(SourceError) in try store.file(name) }
  }

  package static func isCompanion(_ name: String) -> Bool {
    [".json", ".model", ".tiktoken", ".txt", ".jinja", ".py", ".md"].contains(where: name.hasSuffix)
      || name.hasPrefix("LICENSE")
  }

  /// What of the directory is served otherwise than someone might think.
  ///
  /// - Parameter dtype: what the run trains in.
  package func warnings(servedAs dtype: DType) -> [String] {
    let dtypes = dtypeWarning(servedAs: dtype).map { [$0] } ?? []
    guard store.holds("adapter_config.json") else { return dtypes }
    return dtypes + [
      "adapter_config.json: the PEFT adapter beside the model isn't merged into what is served. Merge it first "
        + "(merge_and_unload()) if the run is to start from it."
    ]
  }
}
