@testable import Bytes

/// A tensor as an array of its elements' bits, and the algebra's operations by explicit loops.
struct DenseTensor {
  var shape: [Int]
  let dtype: DType
  /// Row-major; the low bits of each.
  var elements: [UInt64]

  var bytes: [UInt8] {
    elements.flatMap { element in (0..<dtype.size).map { UInt8(truncatingIfNeeded: element >> (8 * $0)) } }
  }

  init(shape: [Int], dtype: DType, _ elements: [UInt64]) {
    (self.shape, self.dtype, self.elements) = (shape, dtype, elements)
  }

  private var rowElements: Int { shape.dropFirst().reduce(1, *) }

  func rows(_ indices: [Int]) -> DenseTensor {
    var picked: [UInt64] = []
    for row in indices {
      for column in 0..<rowElements { picked.append(elements[row * rowElements + column]) }
    }
    return DenseTensor(shape: [indices.count] + shape.dropFirst(), dtype: dtype, picked)
  }

  func columns(_ range: Range<Int>) -> DenseTensor {
    var picked: [UInt64] = []
    for row in 0..<shape[0] {
      for column in range { picked.append(elements[row * shape[1] + column]) }
    }
    return DenseTensor(shape: [shape[0], range.count], dtype: dtype, picked)
  }

  func transposed() -> DenseTensor {
    var picked: [UInt64] = []
    for column in 0..<shape[1] {
      for row in 0..<shape[0] { picked.append(elements[row * shape[1] + column]) }
    }
    return DenseTensor(shape: [shape[1], shape[0]], dtype: dtype, picked)
  }

  func reshaped(_ shape: [Int]) -> DenseTensor { DenseTensor(shape: shape, dtype: dtype, elements) }

  static func concatenating(_ tensors: [DenseTensor]) -> DenseTensor {
    DenseTensor(
      shape: [tensors.reduce(0) { $0 + $1.shape[0] }] + tensors[0].shape.dropFirst(), dtype: tensors[0].dtype,
      tensors.flatMap(\.elements))
  }

  static func concatenatingColumns(_ tensors: [DenseTensor]) -> DenseTensor {
    var picked: [UInt64] = []
    for row in 0..<tensors[0].shape[0] {
      for tensor in tensors {
        for column in 0..<tensor.shape[1] { picked.append(tensor.elements[row * tensor.shape[1] + column]) }
      }
    }
    return DenseTensor(
      shape: [tensors[0].shape[0], tensors.reduce(0) { $0 + $1.shape[1] }], dtype: tensors[0].dtype, picked)
  }

  static func assembling(_ shape: [Int], _ pieces: [(Block, DenseTensor)], dtype: DType) -> DenseTensor {
    let cols = shape.dropFirst().reduce(1, *)
    var elements = [UInt64](repeating: 0, count: shape[0] * cols)
    for (block, tensor) in pieces {
      var next = 0
      for row in block.rows {
        for column in block.columns {
          elements[row * cols + column] = tensor.elements[next]
          next += 1
        }
      }
    }
    return DenseTensor(shape: shape, dtype: dtype, elements)
  }

  // MARK: elements

  func cast(to dtype: DType) -> DenseTensor {
    if dtype == self.dtype { return self }
    return DenseTensor(
      shape: shape, dtype: dtype, elements.map { DenseTensor.bits(DenseTensor.value($0, self.dtype), dtype) })
  }

  func scaled(by scale: Float, adding offset: Float?) -> DenseTensor {
    DenseTensor(
      shape: shape, dtype: dtype,
      elements.map {
        let product = DenseTensor.value($0, dtype) * scale
        return DenseTensor.bits(offset.map { product + $0 } ?? product, dtype)
      })
  }

  /// A number as fp32; none of those in the tests is a NaN.
  static func value(_ bits: UInt64, _ dtype: DType) -> Float {
    switch dtype {
    case .float64: Float(Double(bitPattern: bits))
    case .float32: Float(bitPattern: UInt32(bits))
    case .float16: Float(Float16(bitPattern: UInt16(bits)))
    case .bfloat16: Float(bitPattern: UInt32(bits) << 16)
    default: preconditionFailure("no number")
    }
  }

  /// By arithmetic: the nearer of two neighbours, the even one in the middle.
  static func bits(_ value: Float, _ dtype: DType) -> UInt64 {
    switch dtype {
    case .float32: return UInt64(value.bitPattern)
    case .float16: return UInt64(Float16(value).bitPattern)
    case .bfloat16:
      let low = UInt64(value.bitPattern >> 16)
      if value.isInfinite { return low }
      func number(_ bits: UInt64) -> Double {
        // What would be the next number behind the largest one is infinity.
        bits & 0x7FFF == 0x7F80
          ? (bits & 0x8000 == 0 ? 0x1p128 : -0x1p128) : Double(Float(bitPattern: UInt32(bits) << 16))
      }
      let (below, above) = (abs(Double(value) - number(low)), abs(number(low + 1) - Double(value)))
      return below < above || below == above && low % 2 == 0 ? low : low + 1
    default: preconditionFailure("no cast to \(dtype)")
    }
  }
}
