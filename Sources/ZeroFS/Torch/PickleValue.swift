import Bytes

/// A Python object, as far as checkpoints hold them.
package indirect enum PickleValue: Sendable {
  case none
  case bool(Bool)
  case int(Int)
  case float(Double)
  case string(String)
  case bytes([UInt8])
  case tuple([PickleValue])
  case list([PickleValue])
  case set([PickleValue])
  /// In insertion order.
  case dict(items: [(key: PickleValue, value: PickleValue)])
  /// `collections.OrderedDict`.
  case orderedDict(items: [(key: PickleValue, value: PickleValue)])
  /// A class or function by name; `.dtype(.bfloat16)` is `torch.bfloat16`.
  case global(module: String, name: String)
  /// `callable(*arguments)`.
  case reduce(callable: PickleValue, arguments: [PickleValue])
  /// `cls.__new__(cls, *arguments)`.
  case new(class: PickleValue, arguments: [PickleValue])
  /// `object.__setstate__(state)`, or `object.__dict__.update(state)` where it has none.
  case build(PickleValue, state: PickleValue)
  /// A `torch.Tensor` with a storage of its own.
  case tensor(TensorExpression, requiresGrad: Bool)
  /// A tensor of literal elements: `torch.tensor`, contiguous, with a storage of its own.
  case literalTensor([UInt8], DType, shape: [Int])

  package static func dict(_ members: KeyValuePairs<String, PickleValue>) -> PickleValue {
    .dict(items: members.map { (.string($0.key), $0.value) })
  }

  package static func dict(_ members: [(String, PickleValue)]) -> PickleValue {
    .dict(items: members.map { (.string($0.0), $0.1) })
  }

  package static func orderedDict(_ members: [(String, PickleValue)]) -> PickleValue {
    .orderedDict(items: members.map { (.string($0.0), $0.1) })
  }

  /// An instance of a plain Python class.
  package static func object(_ module: String, _ name: String, _ attributes: [(String, PickleValue)])
    -> PickleValue
  {
    .build(
      .new(class: .global(module: module, name: name), arguments: []),
      state: .dict(attributes))
  }

  package static func ints(_ values: some Sequence<Int>) -> PickleValue { .list(values.map { .int($0) }) }

  package static func dtype(_ dtype: DType) -> PickleValue { .global(module: "torch", name: dtype.torchName) }

  /// `torch.Size(shape)`.
  package static func size(_ shape: [Int]) -> PickleValue {
    .reduce(callable: .global(module: "torch", name: "Size"), arguments: [.tuple(shape.map { .int($0) })])
  }
}

/// A tensor in a value, and the way to it.
package struct PickleTensor: Sendable {
  /// `optimizer_state_dict.state[0].exp_avg`: keys and attributes by name, the rest in brackets.
  package let path: String
  package let shape: [Int]
  package let dtype: DType
  /// The bytes of the row-major tensor.
  package let extents: [Extent]
}

extension PickleValue {
  /// The value of a key, or of an object's attribute.
  package subscript(key: String) -> PickleValue? {
    switch self {
    case .dict(let items), .orderedDict(let items):
      items.first { if case .string(key) = $0.key { true } else { false } }?.value
    case .build(_, let state): state[key]
    default: nil
    }
  }

  package var integer: Int? { if case .int(let value) = self { value } else { nil } }

  /// The values inside, in the order of the pickle, each with the step of a path that leads there. A dict's keys are not
  /// among them; the attributes of an object are the items of its state.
  package var members: [(step: String, value: PickleValue)] {
    switch self {
    case .tuple(let values), .list(let values), .set(let values), .reduce(_, let values), .new(_, let values):
      values.enumerated().map { ("[\($0.offset)]", $0.element) }
    case .dict(let items), .orderedDict(let items): items.map { (PickleValue.step($0.key), $0.value) }
    case .build(let object, let state): [("", object), ("", state)]
    case .none, .bool, .int, .float, .string, .bytes, .global, .tensor, .literalTensor: []
    }
  }

  /// UTF-8 bytes of the longest key that paths spell out: no parameter's name is as long.
  private static let maxKey = 512

  /// The step to the value of `key`.
  package static func step(_ key: PickleValue) -> String {
    switch key {
    case .string(let name) where name.utf8.count <= maxKey: ".\(name)"
    case .int(let number): "[\(number)]"
    default: "[…]"
    }
  }

  package static func path(_ steps: [String]) -> String {
    let path = steps.joined()
    return path.hasPrefix(".") ? String(path.dropFirst()) : path
  }

  /// Every tensor, in the order of the pickle. A tensor that occurs twice is there twice.
  package var tensors: [PickleTensor] {
    var found: [PickleTensor] = []
    var steps: [String] = []
    collect(into: &found, at: &steps)
    return found
  }

  private func collect(into found: inout [PickleTensor], at steps: inout [String]) {
    switch self {
    case .tensor(let tensor, _):
      found.append(
        PickleTensor(
          path: PickleValue.path(steps), shape: tensor.shape, dtype: tensor.dtype, extents: tensor.extents))
    case .literalTensor(let bytes, let dtype, let shape):
      found.append(
        PickleTensor(path: PickleValue.path(steps), shape: shape, dtype: dtype, extents: [.literal(bytes)]))
    default:
      for (step, value) in members {
        steps.append(step)
        value.collect(into: &found, at: &steps)
        steps.removeLast()
      }
    }
  }
}
