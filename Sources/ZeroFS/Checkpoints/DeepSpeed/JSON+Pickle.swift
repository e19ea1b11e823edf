import Bytes
import Torch

extension JSON {
  /// What Python's `json.load` makes of it; an integer beyond 64 bits as the nearest float.
  var pickle: PickleValue {
    switch self {
    case .null: .none
    case .bool(let value): .bool(value)
    case .int(let value): .int(value)
    case .bigInteger: .float(number ?? .infinity)
    case .double(let value): .float(value)
    case .string(let value): .string(value)
    case .array(let values): .list(values.map(\.pickle))
    case .object(let members): .dict(members.all.map { ($0.name, $0.value.pickle) })
    }
  }

  /// What Python's `json.dumps` makes of a value; null for what JSON can't hold.
  init(_ value: PickleValue) {
    switch value {
    case .bool(let value): self = .bool(value)
    case .int(let value): self = .int(value)
    case .float(let value): self = .double(value)
    case .string(let value): self = .string(value)
    case .list(let values), .tuple(let values): self = .array(values.map { JSON($0) })
    case .dict, .orderedDict:
      var members = Members()
      for (name, value) in value.namedItems ?? [] { members.set(name, JSON(value)) }
      self = .object(members)
    default: self = .null
    }
  }

  /// What HF Trainer fills in.
  var isAuto: Bool { string == "auto" }
}
