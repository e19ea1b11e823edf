/// The element type of a tensor, with its names in safetensors, in a Hugging Face `config.json` and in PyTorch.
package enum DType: String, Sendable, Hashable, CaseIterable {
  case float32 = "F32"
  case float16 = "F16"
  case bfloat16 = "BF16"
  case float64 = "F64"
  case int64 = "I64"
  case int32 = "I32"
  case int16 = "I16"
  case int8 = "I8"
  case uint8 = "U8"
  case bool = "BOOL"

  /// Bytes per element.
  package var size: Int {
    switch self {
    case .float64, .int64: 8
    case .float32, .int32: 4
    case .float16, .bfloat16, .int16: 2
    case .int8, .uint8, .bool: 1
    }
  }

  /// The attribute of the `torch` module, as in `torch_dtype` of a `config.json`: `bfloat16`.
  package var torchName: String {
    switch self {
    case .float64: "float64"
    case .float32: "float32"
    case .float16: "float16"
    case .bfloat16: "bfloat16"
    case .int64: "int64"
    case .int32: "int32"
    case .int16: "int16"
    case .int8: "int8"
    case .uint8: "uint8"
    case .bool: "bool"
    }
  }

  /// The class of `torch` that a pickled storage of this type names (PyTorch `torch/storage.py`: `_dtype_to_storage_type_map`).
  package var torchStorageClass: String {
    switch self {
    case .float64: "DoubleStorage"
    case .float32: "FloatStorage"
    case .float16: "HalfStorage"
    case .bfloat16: "BFloat16Storage"
    case .int64: "LongStorage"
    case .int32: "IntStorage"
    case .int16: "ShortStorage"
    case .int8: "CharStorage"
    case .uint8: "ByteStorage"
    case .bool: "BoolStorage"
    }
  }

  /// Whether casts know the type. Elements of the others only pass unchanged.
  var isFloatingPoint: Bool {
    switch self {
    case .float64, .float32, .float16, .bfloat16: true
    case .int64, .int32, .int16, .int8, .uint8, .bool: false
    }
  }

  /// Whether `other` represents every value of this type exactly, so that a cast to it loses nothing.
  func isExactly(in other: DType) -> Bool {
    switch (self, other) {
    case (.bfloat16, .float32), (.float16, .float32): true
    default: self == other
    }
  }
  /// The type in which tensors of `dtypes` can be joined: theirs where it is one, else fp32, to which fp64 is
  /// cast first (`Cast`) and which holds all narrower ones.
  package static func common(to dtypes: [DType]) -> DType {
    guard let first = dtypes.first, dtypes.allSatisfy({ $0 == first }) else { return .float32 }
    return first == .float64 ? .float32 : first
  }
}
