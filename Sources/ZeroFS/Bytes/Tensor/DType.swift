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

  /// Whether `other` represents every value of this type exactly, so that a cast to it loses nothing.
  func isExactly(in other: DType) -> Bool {
    switch (self, other) {
    case (.bfloat16, .float32), (.float16, .float32): true
    default: self == other
    }
  }
}

/// What happens to an element between a source file and a checkpoint file: `source → through → target`, where only the first
/// step may lose bits.
///
/// A master weight of an fp32 model that trains in bf16 is the rounded weight widened again (DeepSpeed
/// `runtime/zero/stage_1_and_2.py`: `DeepSpeedZeroOptimizer.__init__` clones the bf16 partition with `.float()`), hence
/// `through`; it is `source` where nothing is rounded.
package struct Cast: Sendable, Hashable {
  package let source: DType
  package let through: DType
  package let target: DType

  package init(_ dtype: DType) { self.init(source: dtype, through: dtype, target: dtype) }

  private init(source: DType, through: DType, target: DType) {
    self.source = source
    self.through = through
    self.target = target
  }

  /// Bytes pass unchanged.
  package var isVerbatim: Bool { source == target && through == source }

  /// This cast followed by one to `dtype`.
  package func then(_ dtype: DType) -> Cast {
    if through.isExactly(in: dtype) { return Cast(source: source, through: through, target: dtype) }
    precondition(through == source, "a cast rounds once at the most")
    return Cast(source: source, through: dtype, target: dtype)
  }
}
