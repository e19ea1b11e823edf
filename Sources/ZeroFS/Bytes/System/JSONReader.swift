/// Reads JSON text from front to back, in time and memory that grow linearly with its length.
///
/// Python's dialect is what `json.loads` takes, by which transformers and DeepSpeed read what they wrote: RFC 8259 with `NaN`,
/// `Infinity`, `-Infinity`, and halves of surrogate pairs, which become U+FFFD. The strict one is serde_json's, by which
/// huggingface/safetensors reads headers.
package struct JSONReader {
  package enum Dialect: Sendable {
    case python, strict

    /// Arrays and objects inside each other. serde_json stops at 128, Python somewhere below 1,000.
    var maxDepth: Int {
      switch self {
      case .python: 500
      case .strict: 127
      }
    }
  }

  private let bytes: [UInt8]
  private let dialect: Dialect
  private var position = 0
  private var depth = 0
  /// Names that an object has more than once, in order of appearance; the first few of them.
  package private(set) var duplicates: [String] = []
  private static let maxDuplicates = 8

  package init(_ bytes: [UInt8], _ dialect: Dialect = .python) {
    self.bytes = bytes
    self.dialect = dialect
  }

  /// An error about what comes next.
  package func error(_ what: String) -> JSONError {
    skippingSpace(from: position) < bytes.count
      ? JSONError(offset: skippingSpace(from: position), what: what)
      : JSONError(offset: bytes.count, what: "\(what), and the text ends")
  }

  /// One value, and nothing but space behind it.
  package mutating func document() throws(JSONError) -> JSON {
    let value = try value()
    try end()
    return value
  }

  package mutating func end() throws(JSONError) {
    guard next() == nil else { throw error("more behind the end of the value") }
  }

  package mutating func value() throws(JSONError) -> JSON {
    switch next() {
    case UInt8(ascii: "{"):
      var members = JSON.Members()
      try object { name, reader throws(JSONError) in
        let isNew = members.set(name, try reader.value())
        if !isNew && reader.duplicates.count < JSONReader.maxDuplicates { reader.duplicates.append(name) }
      }
      return .object(members)
    case UInt8(ascii: "["):
      var elements: [JSON] = []
      try array { reader throws(JSONError) in elements.append(try reader.value()) }
      return .array(elements)
    case UInt8(ascii: "\""): return .string(try string())
    case let byte? where byte == UInt8(ascii: "-") || JSONReader.isDigit(byte): return try number()
    default: return try word()
    }
  }

  /// - Parameter member: reads one value.
  package mutating func object(
    _ member: (_ name: String, _ reader: inout JSONReader) throws(JSONError) -> Void
  ) throws(JSONError) {
    try sequence(from: "{", to: "}") { reader throws(JSONError) in
      guard reader.next() == UInt8(ascii: "\"") else { throw reader.error("no name of a member") }
      let name = try reader.string()
      guard reader.take(":") else { throw reader.error("no : behind a name") }
      try member(name, &reader)
    }
  }

  /// - Parameter element: reads one value.
  package mutating func array(_ element: (_ reader: inout JSONReader) throws(JSONError) -> Void)
    throws(JSONError)
  { try sequence(from: "[", to: "]", element) }

  private mutating func sequence(
    from opening: Unicode.Scalar, to closing: Unicode.Scalar,
    _ part: (_ reader: inout JSONReader) throws(JSONError) -> Void
  ) throws(JSONError) {
    guard depth < dialect.maxDepth else { throw error("more than \(dialect.maxDepth) levels") }
    guard take(opening) else { throw error("no \(opening)") }
    depth += 1
    defer { depth -= 1 }
    if take(closing) { return }
    repeat { try part(&self) } while take(",")
    guard take(closing) else { throw error("neither , nor \(closing)") }
  }

  /// The next byte that isn't space, which it skips.
  private mutating func next() -> UInt8? {
    position = skippingSpace(from: position)
    return position < bytes.count ? bytes[position] : nil
  }

  private func skippingSpace(from start: Int) -> Int {
    var position = start
    while position < bytes.count, [0x20, 0x0A, 0x0D, 0x09].contains(bytes[position]) { position += 1 }
    return position
  }

  private mutating func take(_ scalar: Unicode.Scalar) -> Bool {
    guard next() == UInt8(ascii: scalar) else { return false }
    position += 1
    return true
  }

  private mutating func word() throws(JSONError) -> JSON {
    var words: [(String, JSON)] = [("null", .null), ("true", .bool(true)), ("false", .bool(false))]
    if dialect == .python { words += [("NaN", .double(.nan)), ("Infinity", .double(.infinity))] }
    for (word, value) in words where bytes[position...].starts(with: word.utf8) {
      position += word.utf8.count
      return value
    }
    throw error("no value")
  }
}

// Numbers

extension JSONReader {
  /// Digits of an integer, as in Python (`sys.int_info.default_max_str_digits`).
  private static let maxDigits = 4300

  private mutating func number() throws(JSONError) -> JSON {
    let start = position
    let isNegative = take("-")
    if isNegative && dialect == .python && bytes[position...].starts(with: "Infinity".utf8) {
      position += "Infinity".utf8.count
      return .double(-.infinity)
    }
    let digits = skipDigits()
    guard digits == 1 || digits > 1 && bytes[position - digits] != UInt8(ascii: "0") else {
      throw JSONError(offset: start, what: "not a number")
    }
    var isInteger = true
    if position < bytes.count, bytes[position] == UInt8(ascii: ".") {
      (isInteger, position) = (false, position + 1)
      guard skipDigits() > 0 else { throw JSONError(offset: start, what: "not a number") }
    }
    if position < bytes.count, bytes[position] | 0x20 == UInt8(ascii: "e") {
      (isInteger, position) = (false, position + 1)
      if position < bytes.count, [UInt8(ascii: "+"), UInt8(ascii: "-")].contains(bytes[position]) {
        position += 1
      }
      guard skipDigits() > 0 else { throw JSONError(offset: start, what: "not a number") }
    }
    let text = String(decoding: bytes[start..<position], as: UTF8.self)
    if isInteger {
      if let value = Int(text) { return .int(value) }
      guard digits <= JSONReader.maxDigits else {
        throw JSONError(offset: start, what: "an integer of \(digits) digits")
      }
      return .bigInteger(text)
    }
    guard let value = Double(text) else { throw JSONError(offset: start, what: "not a number") }
    return .double(value)
  }

  /// - Returns: how many there are.
  private mutating func skipDigits() -> Int {
    let start = position
    while position < bytes.count, JSONReader.isDigit(bytes[position]) { position += 1 }
    return position - start
  }

  private static func isDigit(_ byte: UInt8) -> Bool {
    (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
  }
}

// Strings

extension JSONReader {
  package mutating func string() throws(JSONError) -> String {
    guard next() == UInt8(ascii: "\"") else { throw error("no text") }
    let start = position
    position += 1
    var text: [UInt8] = []
    var copied = position
    while position < bytes.count {
      switch bytes[position] {
      case UInt8(ascii: "\""):
        text += bytes[copied..<position]
        position += 1
        guard let string = String(validating: text, as: UTF8.self) else {
          throw JSONError(offset: start, what: "a text that isn't UTF-8")
        }
        return string
      case UInt8(ascii: "\\"):
        text += bytes[copied..<position]
        position += 1
        text += Array(String(try escaped()).utf8)
        copied = position
      case ..<0x20: throw JSONError(offset: position, what: "a control character in a text")
      default: position += 1
      }
    }
    throw JSONError(offset: start, what: "a text without an end")
  }

  /// The character that the escape sequence behind a backslash is.
  private mutating func escaped() throws(JSONError) -> Unicode.Scalar {
    let start = position - 1
    guard position < bytes.count else { throw JSONError(offset: start, what: "no escape sequence") }
    position += 1
    switch bytes[position - 1] {
    case UInt8(ascii: "\""): return "\""
    case UInt8(ascii: "\\"): return "\\"
    case UInt8(ascii: "/"): return "/"
    case UInt8(ascii: "b"): return "\u{8}"
    case UInt8(ascii: "f"): return "\u{C}"
    case UInt8(ascii: "n"): return "\n"
    case UInt8(ascii: "r"): return "\r"
    case UInt8(ascii: "t"): return "\t"
    case UInt8(ascii: "u"):
      let unit = try codeUnit()
      if let scalar = Unicode.Scalar(unit) { return scalar }
      let behind = position
      if unit < 0xDC00, bytes[position...].starts(with: "\\u".utf8) {
        position += 2
        let low = try codeUnit()
        if (0xDC00..<0xE000).contains(low),
          let scalar = Unicode.Scalar(0x10000 + (UInt32(unit) - 0xD800) << 10 + (UInt32(low) - 0xDC00))
        {
          return scalar
        }
      }
      guard dialect == .python else { throw JSONError(offset: start, what: "half of a surrogate pair") }
      position = behind
      return "\u{FFFD}"
    default: throw JSONError(offset: start, what: "no escape sequence")
    }
  }

  /// Four hexadecimal digits.
  private mutating func codeUnit() throws(JSONError) -> UInt16 {
    var unit: UInt16 = 0
    for _ in 0..<4 {
      guard position < bytes.count, let digit = Character(Unicode.Scalar(bytes[position])).hexDigitValue
      else {
        throw JSONError(offset: position, what: "no hexadecimal digit")
      }
      unit = unit << 4 + UInt16(digit)
      position += 1
    }
    return unit
  }
}

// Values of one type

extension JSONReader {
  /// A whole number that isn't negative, in digits alone.
  package mutating func count() throws(JSONError) -> Int {
    guard let byte = next(), JSONReader.isDigit(byte) else { throw error("no count") }
    let start = position
    guard case .int(let count) = try number() else { throw JSONError(offset: start, what: "no count") }
    return count
  }

  package mutating func counts() throws(JSONError) -> [Int] {
    var counts: [Int] = []
    try array { reader throws(JSONError) in counts.append(try reader.count()) }
    return counts
  }

  /// Whether `null` comes next, which it skips.
  package mutating func takesNull() -> Bool {
    guard next() != nil, bytes[position...].starts(with: "null".utf8) else { return false }
    position += "null".utf8.count
    return true
  }
}
