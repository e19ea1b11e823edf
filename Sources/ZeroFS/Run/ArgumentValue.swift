import Bytes

/// A value of MDS's argument Namespace, typed as Python holds it.
package enum ArgumentValue: Equatable, Sendable {
  case none
  case bool(Bool)
  case int(Int)
  case float(Double)
  case string(String)
  case list([ArgumentValue])
  /// A `torch.dtype`.
  case dtype(DType)
  /// An object that only the run has (`deepspeed_config_dict`, `model_type`, `attn_mask`, `rotary_pos_emb`):
  /// the writer of the Namespace puts it in this place.
  case object

  /// Python's truth of the value.
  package var isTrue: Bool {
    switch self {
    case .none: false
    case .bool(let value): value
    case .int(let value): value != 0
    case .float(let value): value != 0
    case .string(let value): !value.isEmpty
    case .list(let values): !values.isEmpty
    case .dtype, .object: true
    }
  }

  /// The integer, or the value of an integral float.
  package var asInt: Int? {
    switch self {
    case .int(let value): value
    case .float(let value): Int(exactly: value)
    default: nil
    }
  }

  package var asDouble: Double? {
    switch self {
    case .int(let value): Double(value)
    case .float(let value): value
    default: nil
    }
  }

  /// Whether both are the same value, or the same number, or numbers that MDS can't tell apart where it computes with them in
  /// fp32 (a layer norm's epsilon).
  package func equals(_ other: ArgumentValue, inFloat32: Bool = false) -> Bool {
    if self == other { return true }
    guard let mine = asDouble, let theirs = other.asDouble else { return false }
    return mine == theirs || inFloat32 && Float(mine) == Float(theirs)
  }

  package var asString: String? { if case .string(let value) = self { value } else { nil } }

  /// The value that Python prints so: None, True, False, numbers, quoted strings, lists of them, torch
  /// dtypes.
  init?(pythonLiteral text: some StringProtocol) {
    switch text {
    case "None": self = .none
    case "True": self = .bool(true)
    case "False": self = .bool(false)
    case "torch.float32": self = .dtype(.float32)
    case "torch.float16": self = .dtype(.float16)
    case "torch.bfloat16": self = .dtype(.bfloat16)
    default:
      if let first = text.first, let last = text.last, text.count >= 2 {
        if first == last, first == "'" || first == "\"" {
          self = .string(String(text.dropFirst().dropLast()))
          return
        }
        if first == "[", last == "]" {
          guard let values = ArgumentValue.list(pythonItems: text.dropFirst().dropLast()) else { return nil }
          self = .list(values)
          return
        }
      }
      if let value = ArgumentValue.int(python: text) {
        self = .int(value)
      } else if let value = ArgumentValue.float(python: text) {
        self = .float(value)
      } else {
        return nil
      }
    }
  }

  /// What Python's `int(text)` makes of decimal digits, single underscores between them, up to 2^62.
  static func int(python text: some StringProtocol) -> Int? {
    guard text.allSatisfy({ $0.isASCII && ($0.isNumber || $0 == "+" || $0 == "-" || $0 == "_") }) else {
      return nil
    }
    return withoutUnderscores(text).flatMap { Int($0) }.flatMap { $0.magnitude <= 1 << 62 ? $0 : nil }
  }

  /// What Python's `float(text)` makes of a decimal number, "inf" or "nan".
  static func float(python text: some StringProtocol) -> Double? {
    // Swift reads hexadecimal too, Python does not.
    guard !text.contains(where: { "xXpP".contains($0) }) else { return nil }
    return withoutUnderscores(text).flatMap { Double($0) }
  }

  /// Python takes an underscore between two digits.
  private static func withoutUnderscores(_ text: some StringProtocol) -> String? {
    guard text.contains("_") else { return String(text) }
    let characters = Array(text)
    for (index, character) in characters.enumerated() where character == "_" {
      guard index > 0, index + 1 < characters.count, characters[index - 1].isNumber,
        characters[index + 1].isNumber
      else {
        return nil
      }
    }
    return String(characters.filter { $0 != "_" })
  }

  private static func list(pythonItems text: some StringProtocol) -> [ArgumentValue]? {
    var items: [String] = []
    var item = ""
    var quote: Character?
    for character in text {
      if let open = quote {
        if character == open { quote = nil }
      } else if character == "'" || character == "\"" {
        quote = character
      } else if character == "," {
        items.append(item)
        item = ""
        continue
      } else if character == " " {
        continue
      }
      item.append(character)
    }
    if !item.isEmpty { items.append(item) }
    var values: [ArgumentValue] = []
    for item in items {
      // No argument is a list of lists.
      guard !item.hasPrefix("["), let value = ArgumentValue(pythonLiteral: item) else { return nil }
      values.append(value)
    }
    return values
  }
}

extension ArgumentValue {
  /// As Python prints it.
  package var pythonDescription: String {
    switch self {
    case .none: "not given"
    case .bool(let value): value ? "True" : "False"
    case .int(let value): "\(value)"
    case .float(let value): "\(value)"
    case .string(let value): value
    case .list(let values): "[" + values.map(\.pythonDescription).joined(separator: ", ") + "]"
    case .dtype(let dtype): "torch.\(dtype.torchName)"
    case .object: "an object"
    }
  }
}

extension ArgumentValue: Encodable {
  package func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    switch self {
    case .none: try container.encodeNil()
    case .bool(let value): try container.encode(value)
    case .int(let value): try container.encode(value)
    case .float(let value): try container.encode(value)
    case .string(let value): try container.encode(value)
    case .list(let values): try container.encode(values)
    case .dtype, .object: try container.encode(pythonDescription)
    }
  }
}
