/// A model that Megatron-DeepSpeed can't express.
public enum ModelError: Error, Equatable, Sendable, CustomStringConvertible {
  case unknownModelType(String, path: String)
  /// A feature of a known family that MDS's GPT model has no code for.
  case unsupported(feature: String, why: String, path: String)

  public var description: String {
    switch self {
    case .unknownModelType(let type, let path):
      "\(path): model_type \"\(type)\" is not served. Megatron-DeepSpeed's GPT model can be laid out for: "
        + "\(ModelFamily.allCases.map(\.rawValue).joined(separator: ", "))."
    case .unsupported(let feature, let why, let path):
      "\(path): \(feature): \(why)"
    }
  }
}
