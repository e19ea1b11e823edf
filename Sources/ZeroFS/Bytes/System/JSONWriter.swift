extension JSON {
  /// As Python's `json.dumps(indent=2)` writes it, members in their order.
  package func text(indent: Int = 0) -> String {
    func lines(_ items: [String], _ open: String, _ close: String) -> String {
      if items.isEmpty { return open + close }
      let margin = String(repeating: " ", count: indent)
      return open + "\n" + items.map { "\(margin)  \($0)" }.joined(separator: ",\n") + "\n\(margin)\(close)"
    }
    return switch self {
    case .null: "null"
    case .bool(let value): "\(value)"
    case .int(let value): "\(value)"
    case .bigInteger(let digits): digits
    case .double(let value): JSON.text(of: value)
    case .string(let value): JSON.quoted(value)
    case .array(let values): lines(values.map { $0.text(indent: indent + 2) }, "[", "]")
    case .object(let members):
      lines(members.all.map { "\(JSON.quoted($0.name)): \($0.value.text(indent: indent + 2))" }, "{", "}")
    }
  }

  private static func text(of value: Double) -> String {
    if value.isNaN { return "NaN" }
    return value.isInfinite ? (value < 0 ? "-Infinity" : "Infinity") : "\(value)"
  }

  /// A string with its quotes.
  package static func quoted(_ text: String) -> String {
    var quoted = "\""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"": quoted += "\\\""
      case "\\": quoted += "\\\\"
      case _ where scalar.value < 0x20: quoted += "\\u" + String(scalar.value, digits: 4, radix: 16)
      default: quoted.unicodeScalars.append(scalar)
      }
    }
    return quoted + "\""
  }
}
