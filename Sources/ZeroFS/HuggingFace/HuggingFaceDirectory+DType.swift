import Bytes

extension DType {
  /// Whether weights are served from it.
  var isWeight: Bool { [.float64, .float32, .float16, .bfloat16].contains(self) }
}

extension HuggingFaceDirectory {
  /// The dtype that the model was saved in: as `config.json` says, else that of the first floating-point tensor by name of the
  /// first file (transformers `modeling_utils.py`: `_get_dtype`, `get_state_dict_dtype`).
  ///
  /// - Returns: `nil` where there is no floating-point tensor, or the model is quantized.
  /// - Throws: `SourceError.dtype` for one that no run trains in.
  package func dtype() throws(SourceError) -> DType? {
    // What the family says of quantization is more help than a dtype.
    if configurationFile.quantization != nil { return (try? configurationFile.dtype()) ?? nil }
    if let dtype = try configurationFile.dtype() { return dtype }
    guard let dtype = firstFloatingPoint else { return nil }
    guard dtype != .float64 else { throw .dtype("float64", path: files[0].path) }
    return dtype
  }

  private var firstFloatingPoint: DType? {
    guard let first = files.first else { return nil }
    let floating = table.tensors.filter {
      $0.value.file === first && DType(rawValue: $0.value.tensor.dtype)?.isWeight == true
    }
    return floating.min { $0.key < $1.key }.flatMap { DType(rawValue: $0.value.tensor.dtype) }
  }

  /// That the dtype is one tensor's of several kinds, where `config.json` doesn't say.
  func dtypeWarning(servedAs served: DType) -> String? {
    guard served == firstFloatingPoint, (try? configurationFile.dtype()) == .some(nil) else { return nil }
    let weights = table.tensors.filter { $0.key.hasSuffix(".weight") }.map(\.value.tensor.dtype)
    let kinds = Set(weights).sorted()
    guard kinds.count > 1 else { return nil }
    return
      "config.json names no dtype, and the weights are \(kinds.joined(separator: " and ")): \(served.torchName) is served, "
      + "of the first tensor, as transformers takes it. Give --dtype for another."
  }
}
