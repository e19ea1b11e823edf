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

  /// What HF Trainer fills in.
  var isAuto: Bool { string == "auto" }
}
