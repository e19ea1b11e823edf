import Bytes

/// What a value holds, for who reads what others saved; `nil` where it is of another kind.
extension PickleValue {
  package var text: String? { if case .string(let text) = self { text } else { nil } }
  package var isTrue: Bool { if case .bool(true) = self { true } else { false } }
  package var isNone: Bool { if case .none = self { true } else { false } }

  /// An integer; JSON may have one as `1e9`.
  package var wholeNumber: Int? {
    if case .float(let value) = self { Int(exactly: value) } else { integer }
  }

  package var number: Double? {
    switch self {
    case .int(let value): Double(value)
    case .float(let value): value
    default: nil
    }
  }

  package var tensor: TensorExpression? { if case .tensor(let tensor, _) = self { tensor } else { nil } }

  /// Of a list or a tuple.
  package var elements: [PickleValue]? {
    switch self {
    case .list(let values), .tuple(let values): values
    default: nil
    }
  }

  /// Of a dict, or the attributes of an object that is none, in their order.
  package var items: [(key: PickleValue, value: PickleValue)]? {
    switch self {
    case .dict(let items), .orderedDict(let items): items
    // A dict may have attributes, too: `_metadata` of a state_dict().
    case .build(let object, let state): object.items ?? state.items
    default: nil
    }
  }

  /// The items whose keys are texts.
  package var namedItems: [(name: String, value: PickleValue)]? {
    items?.compactMap { item in item.key.text.map { ($0, item.value) } }
  }

  /// The value of a number that is a key.
  package subscript(key: Int) -> PickleValue? {
    items?.first { $0.key.integer == key }?.value
  }

  /// The numbers of a `torch.Size`.
  package var size: [Int]? {
    guard case .reduce(.global("torch", "Size"), let arguments) = self, arguments.count == 1,
      case .tuple(let values) = arguments[0]
    else { return nil }
    let sizes = values.compactMap(\.integer)
    return sizes.count == values.count && sizes.allSatisfy { $0 >= 0 } ? sizes : nil
  }

  /// The same dict with other values of some keys, each in its place, new ones at the end.
  package func setting(_ members: [(String, PickleValue)]) -> PickleValue {
    var items = self.items ?? []
    for (name, value) in members {
      if let index = items.firstIndex(where: { $0.key.text == name }) {
        items[index].value = value
      } else {
        items.append((.string(name), value))
      }
    }
    return .dict(items: items)
  }
}
