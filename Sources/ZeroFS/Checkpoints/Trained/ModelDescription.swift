import Bytes
import HuggingFace

/// What of a Hugging Face directory is no weights: `config.json`, tokenizer, generation settings. The directory that a run
/// started from, or any of the same model.
package struct ModelDescription: Sendable {
  let path: String
  let configuration: ConfigurationFile
  /// Everything beside it.
  let companions: [any StoredFile]

  /// - Parameter path: a directory with a `config.json`; weights aren't looked for.
  /// - Throws: `SourceError`.
  package init(path: String) throws(SourceError) {
    let directory = try DiskDirectory(path)
    self.path = path
    configuration = try ConfigurationFile(try directory.file("config.json"))
    companions = try directory.names().filter(ModelDescription.isCompanion).map {
      name throws(SourceError) in try directory.file(name)
    }
  }

  private static func isCompanion(_ name: String) -> Bool {
    // HF Trainer has its own file beside the model's.
    HuggingFaceDirectory.isCompanion(name)
      && !["config.json", "model.safetensors.index.json", "trainer_state.json"].contains(name)
  }

  /// `config.json` with other values of some members; those that it calls by an older name keep that.
  func text(setting values: [(String, JSON)]) -> String {
    var members = configuration.members
    for (name, value) in values { members.set(name, value) }
    return JSON.object(members).text() + "\n"
  }

  /// The member that says in which dtype the weights are.
  var dtypeName: String { configuration.members["dtype"] == nil ? "torch_dtype" : "dtype" }
}
