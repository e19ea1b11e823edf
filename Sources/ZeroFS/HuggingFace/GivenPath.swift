import Bytes
import Glibc

/// What was given in the place of a model directory: a file that isn't an archive of zerofs's.
package enum GivenFile: Sendable, Equatable {
  case json, safetensors
  case foreign(ForeignFile)

  /// `nil` for a file that may be an archive.
  package init?(_ file: any StoredFile) {
    if let kind = ForeignFile(file) {
      self = .foreign(kind)
    } else if file.path.hasSuffix(".safetensors") {
      self = .safetensors
    } else if file.path.hasSuffix(".json") {
      self = .json
    } else {
      return nil
    }
  }

  var advice: String {
    switch self {
    case .json, .safetensors: "one file of a model. Give the directory that it is in."
    case .foreign(let kind): kind.advice
    }
  }
}

/// What a directory is that holds no model, or none that zerofs reads.
package enum OtherDirectory: Sendable, Equatable {
  /// An entry of the Hub's cache, with its snapshots.
  case cacheEntry(snapshots: [String])
  /// The Hub's cache itself.
  case cache
  case adapter
  case gguf(String)
  case pytorch(String)
  /// Meta's own layout.
  case consolidated(String)
  /// A checkpoint of DeepSpeed's.
  case deepSpeed
  /// A model is one level deeper.
  case parent(of: String)
  /// Neither a configuration nor weights, or one without the other.
  case incomplete(missing: String)

  /// - Parameter missing: what there isn't.
  init(_ store: any ModelFiles, missing: String) {
    let names = (store as? DiskDirectory).flatMap { try? $0.entries() } ?? (try? store.names()) ?? []
    func first(_ isMeant: (String) -> Bool) -> String? { names.first(where: isMeant) }
    if names.contains("snapshots") && (names.contains("refs") || names.contains("blobs")) {
      self = .cacheEntry(
        snapshots: (try? DiskDirectory(store.path + "/snapshots").entries()) ?? [])
    } else if first({ $0.hasPrefix("models--") }) != nil {
      self = .cache
    } else if names.contains("adapter_config.json") {
      self = .adapter
    } else if let name = first({ $0.hasSuffix(".gguf") }) {
      self = .gguf(name)
    } else if let name = first({ $0.hasPrefix("pytorch_model") && $0.hasSuffix(".bin") }) {
      self = .pytorch(name)
    } else if let name = first({ $0.hasPrefix("consolidated") }) {
      self = .consolidated(name)
    } else if names.contains("latest") || first({ $0.hasPrefix("global_step") }) != nil {
      self = .deepSpeed
    } else if let name = first({ access("\(store.path)/\($0)/config.json", F_OK) == 0 }) {
      self = .parent(of: name)
    } else {
      self = .incomplete(missing: missing)
    }
  }

  func advice(_ path: String) -> String {
    switch self {
    case .cacheEntry(let snapshots):
      "an entry of the Hub's cache. The model is in a snapshot of it: give "
        + "\(path)/snapshots/\(snapshots.count == 1 ? snapshots[0] : "REVISION")."
    case .cache:
      "the Hub's cache. Give the snapshot of one model: \(path)/models--ORG--NAME/snapshots/REVISION."
    case .adapter:
      "a PEFT adapter without its base model. Merge it into the base model (PEFT's merge_and_unload()), save_pretrained the "
        + "result, and give that directory."
    case .gguf(let name):
      "holds \(JSON.excerpt(name)), a GGUF file of llama.cpp. zerofs reads safetensors: take the model that it was converted from."
    case .pytorch(let name):
      "holds \(JSON.excerpt(name)), which torch.save wrote. zerofs reads safetensors: convert it with "
        + "AutoModelForCausalLM.from_pretrained(DIR, dtype=\"auto\").save_pretrained(NEW)."
    case .consolidated(let name):
      "holds \(JSON.excerpt(name)), a model in its maker's own layout. zerofs reads the Hugging Face one: config.json and "
        + "model*.safetensors."
    case .deepSpeed:
      "a checkpoint of DeepSpeed's, not a Hugging Face model. Give the directory with config.json and *.safetensors."
    case .parent(let name):
      "no model is here, but in \(JSON.excerpt(name)): give \(path)/\(JSON.excerpt(name))."
    case .incomplete(let missing):
      "\(missing). Give a directory with config.json and *.safetensors, as save_pretrained writes it."
    }
  }
}
