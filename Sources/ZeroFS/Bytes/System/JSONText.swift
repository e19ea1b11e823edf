extension JSON {
  /// As `json.dumps(value, sort_keys=True, separators=(",", ":"))` writes it: sorted members, no spaces, ASCII. Python reads it
  /// back as it is, `NaN` and `Infinity` too.
  package var text: String {
    switch self {
    case .null: "null"
    case .bool(let value): "\(value)"
    case .int(let value): "\(value)"
    case .bigInteger(let digits): digits
    case .double(let value): JSON.text(value)
    case .string(let value): JSON.asciiQuoted(value)
    case .array(let elements): "[" + elements.map(\.text).joined(separator: ",") + "]"
    case .object(let members): "{" + members.sorted.map { "\($0):\($1.text)" }.joined(separator: ",") + "}"
    }
  }

  /// For people: each member of an object and of those inside it in a line of its own.
  ///
  /// - Parameter depth: how many objects around this one.
  package func lines(depth: Int = 0) -> String {
    guard let members, !members.all.isEmpty else { return text }
    let indent = String(repeating: " ", count: depth + 1)
    return "{\n"
      + members.sorted.map { "\(indent)\($0): \($1.lines(depth: depth + 1))" }.joined(separator: ",\n")
      + "\n\(indent.dropLast())}"
  }

  private static func text(_ number: Double) -> String {
    if number.isNaN { return "NaN" }
    return number.isInfinite ? (number < 0 ? "-Infinity" : "Infinity") : "\(number)"
  }

  private static func asciiQuoted(_ text: String) -> String {
    let units = text.utf16.map { unit in
      switch unit {
      case UInt16(UInt8(ascii: "\"")): "\\\""
      case UInt16(UInt8(ascii: "\\")): "\\\\"
      case 0x20..<0x7F: String(Unicode.Scalar(UInt8(unit)))
      default:
        "\\u" + String(repeating: "0", count: 4 - String(unit, radix: 16).count) + String(unit, radix: 16)
      }
    }
    return "\"" + units.joined() + "\""
  }
}

extension JSON.Members {
  /// By the bytes of their names, which are quoted.
  fileprivate var sorted: [(name: String, value: JSON)] {
    all.sorted { $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) }.map {
      (JSON.string($0.name).text, $0.value)
    }
  }

  /// In this order.
  package init(_ members: [(String, JSON)]) {
    self.init()
    for (name, value) in members { set(name, value) }
  }
}
