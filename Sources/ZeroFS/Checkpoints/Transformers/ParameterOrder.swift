import Bytes
import FoundationEssentials
import HuggingFace

/// The names of a module's parameters in `named_parameters()` order, which safetensors files don't keep, and those that
/// `state_dict()` has beside: tied names and persistent buffers.
package struct ParameterOrder: Sendable {
  /// Keys of `state_dict()`.
  let stateDict: [String]
  /// `named_parameters()`, which names a tied parameter once.
  let parameters: [String]
  /// A name of `stateDict` that isn't in `parameters` → the parameter that it is.
  let tied: [String: String]
  /// A name of `stateDict` → the name of its tensor in the files, where transformers renames it.
  let files: [String: String]
  /// Parameters that HF Trainer doesn't let decay; `nil` where the file doesn't say.
  let withoutWeightDecay: Set<String>?
  /// Whether tensors of the source may be without a place in the module: where transformers itself said what the module is.
  let allowsOthers: Bool

  /// Biases in the files that config.json leaves out of the module, and transformers with it.
  let unconfiguredBiases: [String]

  /// What of the files is served otherwise than config.json or the files alone say.
  let warnings: [String]

  /// What to do with a model that MDS or zerofs doesn't know, for messages.
  package static let wayOut =
    "--flavor hf with --parameter-order serves it, if transformers computes with the tensors as they are in the files: the program "
    + "of `zerofs parameter-order` says so."

  /// Persistent buffers.
  var buffers: [String] {
    let parameters = Set(parameters)
    return stateDict.filter { !parameters.contains($0) && tied[$0] == nil }
  }

  // Names as in the file.
  // swift-format-ignore: AlwaysUseLowerCamelCase
  private struct File: Decodable {
    let state_dict: [String]
    let parameters: [String]
    let tied: [String: String]
    let files: [String: String]?
    let without_weight_decay: [String]?
  }

  /// Reads the file, or the text, of `--parameter-order`: a JSON object with the members `state_dict`, `parameters`, `tied`, and `files`
  /// where a name of the module isn't the name of its tensor; `without_weight_decay` for HF Trainer.
  ///
  /// - Throws: `ModelError.parameterOrder` where it isn't that, or its names don't fit together.
  package init(_ source: NamedText) throws(ModelError) {
    let (path, contents) = (source.name, Array(source.text.utf8))
    let file: File
    do { file = try JSONDecoder().decode(File.self, from: Data(contents)) } catch {
      throw ModelError.parameterOrder(path: path, why: decodingProblem(error))
    }
    (stateDict, parameters, tied) = (file.state_dict, file.parameters, file.tied)
    files = file.files ?? [:]
    withoutWeightDecay = file.without_weight_decay.map { Set($0) }
    allowsOthers = true
    (unconfiguredBiases, warnings) = ([], [])
    let known = Set(stateDict)
    let holders = Set(parameters)
    func refuse(_ why: String) throws(ModelError) { throw .parameterOrder(path: path, why: why) }
    if known.count != stateDict.count { try refuse("state_dict names something twice") }
    if holders.count != parameters.count { try refuse("parameters names something twice") }
    if parameters.isEmpty { try refuse("there are no parameters") }
    if let name = parameters.first(where: { !known.contains($0) }) {
      try refuse("\(name) is in parameters, but not in state_dict")
    }
    if let name = withoutWeightDecay?.subtracting(holders).min() {
      try refuse("\(name) is in without_weight_decay, but not in parameters")
    }
    for (name, holder) in tied.sorted(by: { $0.key < $1.key }) {
      if !known.contains(name) { try refuse("\(name) is tied, but not in state_dict") }
      if holders.contains(name) { try refuse("\(name) is both tied and in parameters") }
      if !holders.contains(holder) { try refuse("\(name) is tied to \(holder), which isn't in parameters") }
    }
    var names: [String: String] = [:]
    for (name, tensor) in files.sorted(by: { $0.key < $1.key }) {
      if !known.contains(name) { try refuse("\(name) is in files, but not in state_dict") }
      if let other = names.updateValue(name, forKey: tensor) {
        try refuse("files has \(tensor) for both \(other) and \(name)")
      }
    }
  }

  /// Whether HF Trainer keeps a parameter from decaying, by its name alone (transformers `trainer.py`: `get_decay_parameter_names`);
  /// those of an `nn.LayerNorm` don't decay, either.
  static func isWithoutWeightDecay(_ name: String) -> Bool {
    let name = name.lowercased()
    return ["bias", "layernorm", "rmsnorm"].contains(where: name.contains)
      || name.split(separator: ".").contains { $0 == "norm" || $0.hasSuffix("_norm") }
  }

  /// Whether transformers makes the output layer of the model the embedding's parameter.
  static func isTied(_ directory: HuggingFaceDirectory) throws(SourceError) -> Bool {
    let file = directory.configurationFile
    guard let family = ModelFamily(modelType: file.modelType) else { return file.tieWordEmbeddings ?? false }
    return try directory.isTied(family, configured: file.tieWordEmbeddings ?? family.keys.tieWordEmbeddings)
  }

  /// Whether a tensor is the output layer's (transformers: `_tied_weights_keys`, `base_model_prefix`).
  static func isOutputLayer(_ name: String) -> Bool {
    ["lm_head.", "embed_out.", "output."].contains(where: name.hasPrefix)
  }

  /// The order that follows from the family of the model in `directory`.
  ///
  /// - Throws: `ModelError.noParameterOrder` for families that aren't known, `SourceError` without a number of layers.
  init(of directory: HuggingFaceDirectory) throws {
    try directory.requireLayers()
    try self.init(
      of: directory.configurationFile, isTied: ParameterOrder.isTied(directory), holds: directory.locates)
  }

  /// A name of the module → that of its tensor in the files, where they differ; none of a family that isn't known.
  static func renamed(_ file: ConfigurationFile) throws -> [String: String] {
    guard ModelFamily(modelType: file.modelType) != nil else { return [:] }
    return try ParameterOrder(of: file, isTied: false, holds: { _ in true }).files
  }

  /// The order that follows from the family of a model.
  ///
  /// - Parameter holds: whether the files have a tensor of this name.
  /// - Throws: likewise.
  init(of file: ConfigurationFile, isTied: Bool, holds: (_ tensor: String) -> Bool) throws {
    guard let family = ModelFamily(modelType: file.modelType) else {
      throw ModelError.noParameterOrder(file.modelType, path: file.path)
    }
    guard let layers = file.layers, layers > 0 else {
      throw SourceError.malformedJSON(path: file.path, why: "no number of layers")
    }
    if family.isRemoteCode { throw ModelError.noParameterOrder(file.modelType, path: file.path) }
    let (variant, configuration) = try family.configured(by: file)
    let modules = variant.withEmbedding(isTied: isTied, holds: holds).modules(layers: layers)
    var files: [String: String] = [:]
    var layerNorms: Set<String> = []
    var (names, unconfigured): ([String], [String]) = ([], [])
    for module in modules {
      let (hasBias, bias) = (module.bias.isIn(configuration), module.stored + ".bias")
      if module.bias.mayBeUnconfigured(in: configuration), holds(bias) { unconfigured.append(bias) }
      for suffix in ["weight", "bias"] where suffix == "weight" || hasBias {
        let name = "\(module.name).\(suffix)"
        names.append(name)
        if module.stored != module.name { files[name] = "\(module.stored).\(suffix)" }
        if module.isLayerNorm(family) { layerNorms.insert(name) }
      }
    }
    let head = "lm_head.weight"
    stateDict = names
    parameters = isTied ? names.filter { $0 != head } : names
    tied = isTied ? [head: modules[0].name + ".weight"] : [:]
    self.files = files
    withoutWeightDecay = Set(parameters.filter(ParameterOrder.isWithoutWeightDecay)).union(layerNorms)
    allowsOthers = false
    unconfiguredBiases = unconfigured
    let biases = unconfigured.first.map {
      "\($0) and \(unconfigured.count - 1) other biases are in the files, though config.json doesn't say so: they are left out, as "
        + "transformers leaves them out. If the model has them, set attention_bias (or mlp_bias) to true there."
    }
    let isUntied = configuration.tieWordEmbeddings && !isTied
    warnings = [biases, isUntied ? variant.untyingWarning : nil].compactMap(\.self)
  }
}

extension ModelFamily.Module {
  /// Whether it is an `nn.LayerNorm`, whatever its name. Nemotron's is a class of its own.
  fileprivate func isLayerNorm(_ family: ModelFamily) -> Bool {
    family.normalization == .layerNorm && family.modelTypes != ["nemotron"]
      && [.inputNorm, .postAttentionNorm, .finalNorm].contains(role)
  }
}
