import Bytes
import HuggingFace

extension ModelFamily {
  /// That the output layer is no longer the embedding.
  var untyingWarning: String {
    "\(outputLayer) differs from the embedding to which config.json ties it: the model is served untied, as transformers 5 "
      + "computes it."
  }
}

extension HuggingFaceDirectory {
  /// Whether the embedding is the output layer, too. Where the files have an output layer although the configuration ties it to
  /// the embedding, transformers 5 keeps the two apart if they differ (`modeling_utils.py`: `tie_weights`).
  ///
  /// - Parameter configured: what the configuration says.
  /// - Throws: `SourceError.unreadable`.
  func isTied(_ family: ModelFamily, configured: Bool) throws(SourceError) -> Bool {
    guard configured, holds(family.outputLayer), locates(family.wordEmbeddings) else { return configured }
    return try isSame(sourceName(of: family.wordEmbeddings), family.outputLayer)
  }

  func locates(_ name: String) -> Bool { holds(sourceName(of: name)) }
}
