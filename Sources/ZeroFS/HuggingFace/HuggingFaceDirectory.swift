import Bytes
import Glibc

/// A Hugging Face model directory: its configuration and where each tensor is. Opens every shard and reads the headers;
/// tensor data is not touched.
package struct HuggingFaceDirectory: Sendable {
  /// As given by the user.
  package let path: String
  /// `config.json`, of any model.
  package let configurationFile: ConfigurationFile
  /// `config.json`, and the index where there is one.
  package let descriptions: [any StoredFile]
  let table: TensorTable
  let store: any ModelFiles
  /// What tensors' names begin with, up to the first point.
  private let firstParts: Set<Substring>
  let equality = TensorEquality()

  /// The model in the directory `path` on disk.
  ///
  /// - Parameter followsLinks: out of the directory, too.
  /// - Throws: `SourceError`.
  package init(path: String, followsLinks: Bool = false) throws(SourceError) {
    try self.init(try DiskDirectory(path, followsLinks: followsLinks))
  }

  /// - Throws: `SourceError`.
  package init(_ store: any ModelFiles) throws(SourceError) {
    path = store.path
    self.store = store
    guard store.holds("config.json") else {
      throw .noModel(path: store.path, OtherDirectory(store, missing: "config.json: \(errnoMessage(ENOENT))"))
    }
    let description = try store.file("config.json")
    if let kind = ForeignFile(description) { throw .foreignFile(path: description.path, kind) }
    configurationFile = try ConfigurationFile(description)
    table = try TensorTable(store)
    descriptions = [description] + (table.indexFile.map { [$0] } ?? [])
    firstParts = Set(table.tensors.keys.map { $0.prefix { $0 != "." } })
  }

  /// - Throws: `SourceError.layers` where `config.json` says more layers than there are tensors for: before anyone makes
  ///   something for each.
  package func requireLayers() throws(SourceError) {
    if let layers = configurationFile.layers, layers > layerCount {
      throw .layers(configured: layers, held: layerCount, path: configurationFile.path)
    }
  }

  /// The safetensors files, by path.
  package var files: [any StoredFile] { table.files }

  /// The layers that the names of tensors count; all of their numbers are below.
  package var layerCount: Int {
    table.tensors.keys.reduce(0) { count, name in
      let numbers = name.utf8.split(separator: UInt8(ascii: ".")).lazy.compactMap { Int(Substring($0)) }
      return max(count, (numbers.first { $0 >= 0 && $0 < 1 << 24 } ?? -1) + 1)
    }
  }

  /// Whether the files can be read without this program.
  package var isOnDisk: Bool { store is DiskDirectory }

  package var tensorCount: Int { table.tensors.count }

  /// Names of all tensors, as in the files.
  package var tensorNames: some Collection<String> { table.tensors.keys }

  package func holds(_ name: String) -> Bool { table.tensors[name] != nil }

  /// The name that the files have for a tensor of the whole model: those of a bare base model, as `AutoModel` saves it, lack
  /// `model.` or `transformer.` in front (transformers `modeling_utils.py`: `base_model_prefix`).
  package func sourceName(of name: String) -> String {
    let first = name.prefix { $0 != "." }
    guard !holds(name), !firstParts.contains(first), first.endIndex != name.endIndex else { return name }
    let bare = String(name[name.index(after: first.endIndex)...])
    return holds(bare) ? bare : name
  }

  /// The tensor `name`, which must be there with this shape, and be floating point.
  package func tensor(_ name: String, shape: [Int]) throws(SourceError) -> TensorExpression {
    guard let located = table.tensors[name] else {
      throw .missingTensor(name: name, directory: path, missingReason(name))
    }
    let (file, tensor) = (located.file, located.tensor)
    guard tensor.shape == shape else {
      throw .wrongShape(tensor: name, path: file.path, shape: tensor.shape, expected: shape)
    }
    guard let dtype = DType(rawValue: tensor.dtype), dtype.isWeight else {
      throw .wrongDType(tensor: name, path: file.path, dtype: tensor.dtype)
    }
    return TensorExpression(source: file, offset: tensor.offset, shape: shape, dtype: dtype)
  }

  /// The tensor `name` in the shape that its file gives it.
  package func tensor(_ name: String) throws(SourceError) -> TensorExpression {
    try tensor(name, shape: table.tensors[name]?.tensor.shape ?? [])
  }

  /// Whether the tensor `name` holds numbers that aren't integers, which masks, positions and packed bits are.
  package func holdsWeights(_ name: String) -> Bool {
    guard let tensor = table.tensors[name]?.tensor else { return false }
    return !["I", "U", "BOOL"].contains(where: tensor.dtype.hasPrefix) && !tensor.shape.contains(0)
  }

  /// The file that holds tensor `name`.
  package func file(of name: String) -> String { table.tensors[name]?.file.path ?? path }

  /// The name of one of the files in the directory.
  package func name(of file: any StoredFile) -> String { file.path.dropping(prefix: path + "/") ?? file.path }

  /// When the newest of the files was written.
  package var modified: timespec {
    files.map(\.modified).max { ($0.tv_sec, $0.tv_nsec) < ($1.tv_sec, $1.tv_nsec) } ?? timespec()
  }

  /// A whole small file of a model.
  package static func contents(of file: any StoredFile) throws(SourceError) -> [UInt8] {
    do { return try file.contents() } catch { throw .unreadable(error) }
  }
}

extension HuggingFaceDirectory {
  /// Why the files may lack a tensor that config.json implies.
  private func missingReason(_ name: String) -> SourceError.MissingReason {
    for prefix in ["base_model.model.", "_orig_mod.", "module."]
    where tensorNames.allSatisfy({ $0.hasPrefix(prefix) }) { return .prefix(prefix) }
    if tensorNames.contains(where: { $0.contains(".base_layer.") || $0.contains(".lora_A.") }) {
      return .unmergedAdapter
    }
    if tensorNames.contains(where: { $0.hasSuffix(".qweight") }) { return .packedWeights }
    guard ["lm_head.weight", "embed_out.weight", "output.weight"].contains(name) else { return .unknown }
    if let architecture = configurationFile.architectures.first,
      !["ForCausalLM", "LMHeadModel", "ForConditionalGeneration"].contains(where: architecture.hasSuffix)
    {
      return .architecture(JSON.excerpt(architecture))
    }
    return .untied
  }
}
