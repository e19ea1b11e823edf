/// A JSON value as Python's `json.loads` reads it: integers of any size, `NaN` and `Infinity`, members in the file's order.
package enum JSON: Sendable, Equatable {
  case null
  case bool(Bool)
  case int(Int)
  /// An integer beyond 64 bits: a sign, and up to 4,300 digits.
  case bigInteger(String)
  case double(Double)
  case string(String)
  case array([JSON])
  case object(Members)

  /// The members of an object. Where a name came twice, the last value counts, at the place of the first.
  package struct Members: Sendable, Equatable {
    package struct Member: Sendable, Equatable {
      package let name: String
      package var value: JSON
    }

    package private(set) var all: [Member] = []
    /// Where a name is in `all`; only of objects that are searched too slowly without.
    private var places: [String: Int] = [:]
    private static let maxUnindexed = 16

    package init() {}

    private func place(of name: String) -> Int? {
      places.isEmpty ? all.firstIndex { $0.name == name } : places[name]
    }

    package subscript(name: String) -> JSON? { place(of: name).map { all[$0].value } }

    /// - Returns: whether the name is new.
    @discardableResult
    package mutating func set(_ name: String, _ value: JSON) -> Bool {
      if let place = place(of: name) {
        all[place].value = value
        return false
      }
      all.append(Member(name: name, value: value))
      if !places.isEmpty {
        places[name] = all.count - 1
      } else if all.count > Members.maxUnindexed {
        for (place, member) in all.enumerated() { places[member.name] = place }
      }
      return true
    }
  }

  /// - Throws: `JSONError` where `text` isn't one JSON value in UTF-8.
  package init(_ text: [UInt8]) throws(JSONError) {
    var reader = JSONReader(text)
    self = try reader.document()
  }

  /// A member of an object.
  package subscript(name: String) -> JSON? { members?[name] }

  package var members: Members? { if case .object(let members) = self { members } else { nil } }
  package var elements: [JSON]? { if case .array(let elements) = self { elements } else { nil } }
  package var string: String? { if case .string(let value) = self { value } else { nil } }
  package var bool: Bool? { if case .bool(let value) = self { value } else { nil } }
  package var int: Int? { if case .int(let value) = self { value } else { nil } }
  package var isNull: Bool { self == .null }
  package var isTrue: Bool { bool == true }
  package var isFalse: Bool { bool == false }

  /// An integer or a floating-point number.
  package var number: Double? {
    switch self {
    case .int(let value): Double(value)
    case .bigInteger(let digits): Double(digits)
    case .double(let value): value
    default: nil
    }
  }

  /// The value in a message: short, on one line, and without what a terminal would obey.
  package var excerpt: String {
    switch self {
    case .null: "null"
    case .bool(let value): "\(value)"
    case .int(let value): "\(value)"
    case .bigInteger(let digits): JSON.excerpt(digits)
    case .double(let value): "\(value)"
    case .string(let value): "\"\(JSON.excerpt(value))\""
    case .array(let elements): "a list of \(elements.count)"
    case .object(let members): "an object of \(members.all.count) members"
    }
  }

  /// The beginning of `text`, without control characters.
  package static func excerpt(_ text: String) -> String {
    let start = text.unicodeScalars.prefix(80)
    let shown = start.map { scalar in
      [.control, .format, .lineSeparator, .paragraphSeparator].contains(scalar.properties.generalCategory)
        ? "\\u{\(String(scalar.value, radix: 16))}" : String(scalar)
    }
    return shown.joined() + (start.endIndex == text.unicodeScalars.endIndex ? "" : "…")
  }
}

/// What keeps a text from being JSON, or from being the JSON that it should be. Never shows the text: it may be any file.
package struct JSONError: Failure, Equatable {
  /// In bytes from the start of the text.
  package let offset: Int
  package let what: String

  package init(offset: Int, what: String) { (self.offset, self.what) = (offset, what) }

  package var exitStatus: ExitStatus { .source }
  package var description: String { "\(what) at byte \(offset)" }
}
