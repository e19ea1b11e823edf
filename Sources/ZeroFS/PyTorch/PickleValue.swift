/// A Python object, as far as checkpoints hold them.
public indirect enum PickleValue: Sendable {
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

  static func dict(_ members: KeyValuePairs<String, PickleValue>) -> PickleValue {
    .dict(items: members.map { (.string($0.key), $0.value) })
  }

  static func dict(_ members: [(String, PickleValue)]) -> PickleValue {
    .dict(items: members.map { (.string($0.0), $0.1) })
  }

  static func orderedDict(_ members: [(String, PickleValue)]) -> PickleValue {
    .orderedDict(items: members.map { (.string($0.0), $0.1) })
  }

  /// An instance of a plain Python class.
  static func object(_ module: String, _ name: String, _ attributes: [(String, PickleValue)]) -> PickleValue {
    .build(
      .new(class: .global(module: module, name: name), arguments: []),
      state: .dict(attributes))
  }

  static func ints(_ values: some Sequence<Int>) -> PickleValue { .list(values.map { .int($0) }) }

  static func dtype(_ dtype: DType) -> PickleValue { .global(module: "torch", name: dtype.torchName) }

  /// `torch.Size(shape)`.
  static func size(_ shape: [Int]) -> PickleValue {
    .reduce(callable: .global(module: "torch", name: "Size"), arguments: [.tuple(shape.map { .int($0) })])
  }
}
