import Bytes
import Torch

/// What a checkpoint's pickles may name. Nothing of it is called here; but what goes on into another checkpoint, such as a
/// schedule's state, is called by whoever loads that.
enum KnownGlobals {
  private static let names: [String: Set<String>] = [
    "torch": ["Size", "Tensor", "device"],
    "torch._utils": ["_rebuild_tensor_v2", "_rebuild_parameter"],
    "torch._tensor": ["_rebuild_from_type_v2"],
    "torch.nn.parameter": ["Parameter"],
    "numpy": ["dtype", "ndarray"],
    "numpy.core.multiarray": ["_reconstruct", "scalar"],
    "numpy._core.multiarray": ["_reconstruct", "scalar"],
    "collections": ["OrderedDict", "defaultdict", "deque"],
    "_codecs": ["encode"],
    "argparse": ["Namespace"],
    "deepspeed.utils.tensor_fragment": ["fragment_address"],
    "megatron.core.enums": ["ModelType"],
    "zerofs_megatron.guard": ["Required"],
  ]
  private static let builtIn: Set<String> = [
    "set", "frozenset", "complex", "slice", "bytearray", "dict", "list",
  ]

  private static func isKnown(_ module: String, _ name: String) -> Bool {
    if names[module]?.contains(name) == true { return true }
    switch module {
    // dtypes and storages
    case "torch":
      return name.hasSuffix("Storage") || DType.allCases.contains { $0.torchName == name }
        || ["bool", "int8", "int16", "int32", "int64"].contains(name)
    case "builtins", "__builtin__": return builtIn.contains(name)
    // Its classes: loss scalers, stages, configurations.
    default: return module.hasPrefix("deepspeed.runtime.") && name.first?.isUppercase == true
    }
  }

  /// The first one that isn't known. `args` of MDS may hold objects of whoever's fork: their attributes are read one by one, and no
  /// object of them goes on.
  static func foreign(in value: PickleValue) -> String? {
    switch value {
    case .global(let module, let name): return isKnown(module, name) ? nil : "\(module).\(name)"
    case .tuple(let values), .list(let values), .set(let values): return foreign(in: values)
    case .dict(let items), .orderedDict(let items):
      for (key, value) in items where key.text != "args" {
        if let found = foreign(in: key) ?? foreign(in: value) { return found }
      }
      return nil
    case .reduce(let callable, let arguments), .new(let callable, let arguments):
      return foreign(in: callable) ?? foreign(in: arguments)
    case .build(let object, let state): return foreign(in: object) ?? foreign(in: state)
    case .none, .bool, .int, .float, .string, .bytes, .tensor, .literalTensor: return nil
    }
  }

  private static func foreign(in values: [PickleValue]) -> String? {
    for value in values {
      if let found = foreign(in: value) { return found }
    }
    return nil
  }
}
