import Bytes

/// A model that the run's client, Megatron-DeepSpeed or transformers, can't be served.
package enum ModelError: Failure, Equatable {
  /// A family that zerofs doesn't know, whether or not MDS computes it.
  case unknownModelType(String, path: String)
  /// A feature of the model that MDS's GPT model has no code for.
  case unsupported(feature: String, why: String, path: String)
  /// The order of the module's parameters isn't known (`--flavor hf`).
  case noParameterOrder(String, path: String)
  /// The file of `--parameter-order` isn't one.
  case parameterOrder(path: String, why: String)

  package var exitStatus: ExitStatus {
    switch self {
    case .unsupported: .model
    case .unknownModelType, .noParameterOrder: .family
    case .parameterOrder: .run
    }
  }

  package var description: String {
    switch self {
    case .unknownModelType(let type, let path):
      "\(path): model_type \"\(type)\": zerofs doesn't know this family, whether or not MDS computes it. `zerofs models` lists "
        + "those that it knows. \(ParameterOrder.wayOut)"
    case .unsupported(let feature, let why, let path):
      "\(path): \(feature): \(why)"
    case .noParameterOrder(let type, let path):
      "\(path): model_type \"\(type)\": zerofs doesn't know the order of this module's parameters, which safetensors files "
        + "don't keep. Give --parameter-order a file with it; `zerofs parameter-order` shows how to write one."
    case .parameterOrder(let path, let why):
      "\(path): not an order of parameters (\(why)). Write it anew as `zerofs parameter-order` shows."
    }
  }
}
