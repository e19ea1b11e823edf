/// Patterns of `case`, `[[ == ]]` and `${name%pattern}` (bash(1), "Pattern Matching").
struct ShellPattern {
  private enum Piece {
    case character(Character)
    case any
    case star
    case set([ClosedRange<Character>], isNegated: Bool)
  }

  private var pieces: [Piece] = []

  init(_ text: String, _ line: Int) throws(ShellError) {
    var rest = Array(text)[...]
    while let character = rest.popFirst() {
      switch character {
      case "\\": pieces.append(.character(rest.popFirst() ?? "\\"))
      case "?": pieces.append(.any)
      case "*": pieces.append(.star)
      case "[": pieces.append(try Self.set(&rest, line))
      default: pieces.append(.character(character))
      }
    }
  }

  static func quoted(_ text: String) -> String {
    guard text.contains(where: { "\\?*[]".contains($0) }) else { return text }
    return text.reduce(into: "") { result, character in
      if "\\?*[]".contains(character) { result.append("\\") }
      result.append(character)
    }
  }

  private static func set(_ rest: inout ArraySlice<Character>, _ line: Int) throws(ShellError) -> Piece {
    guard let end = rest.dropFirst().firstIndex(of: "]") else { return .character("[") }
    var inside = rest[..<end]
    rest = rest[(end + 1)...]
    let isNegated = inside.first == "!" || inside.first == "^"
    if isNegated { inside.removeFirst() }
    guard !inside.contains("["), !inside.contains("\\") else {
      throw .syntax(line, "a pattern's [[:class:]] isn't followed")
    }
    var ranges: [ClosedRange<Character>] = []
    while let first = inside.popFirst() {
      if inside.first == "-", inside.count > 1 {
        inside.removeFirst()
        let last = inside.removeFirst()
        guard first <= last else { throw .syntax(line, "a pattern's range isn't followed") }
        ranges.append(first...last)
      } else {
        ranges.append(first...first)
      }
    }
    return .set(ranges, isNegated: isNegated)
  }

  func matches(_ text: String) -> Bool { matches(Array(text)[...]) }

  /// In linear space; time is at most the product of both lengths.
  private func matches(_ text: ArraySlice<Character>) -> Bool {
    var (piece, place) = (0, text.startIndex)
    var star: (piece: Int, place: Int)?
    while place < text.endIndex {
      if piece < pieces.count, case .star = pieces[piece] {
        star = (piece, place)
        piece += 1
      } else if piece < pieces.count, matches(pieces[piece], text[place]) {
        piece += 1
        place += 1
      } else if let back = star {
        star = (back.piece, back.place + 1)
        (piece, place) = (back.piece + 1, back.place + 1)
      } else {
        return false
      }
    }
    return pieces[piece...].allSatisfy { if case .star = $0 { true } else { false } }
  }

  private func matches(_ piece: Piece, _ character: Character) -> Bool {
    switch piece {
    case .any, .star: true
    case .character(let own): own == character
    case .set(let ranges, let isNegated): ranges.contains { $0.contains(character) } != isNegated
    }
  }

  /// Without the part at an end that matches: the shortest of `#` and `%`, the longest of `##` and `%%`.
  func trimmed(_ text: String, _ symbol: String) -> String {
    let all = Array(text)
    let lengths = symbol.count == 1 ? Array(0...all.count) : Array((0...all.count).reversed())
    for length in lengths {
      let part = symbol.hasPrefix("#") ? all[..<length] : all[(all.count - length)...]
      if matches(part) {
        return String(symbol.hasPrefix("#") ? all[length...] : all[..<(all.count - length)])
      }
    }
    return text
  }

  /// The first match (`/`), all (`//`), or that at the beginning (`/#`) or end (`/%`) replaced; each the longest.
  func replaced(_ text: String, _ symbol: String, with new: String) -> String {
    let all = Array(text)
    if symbol == "/%" {
      for start in all.indices where matches(all[start...]) { return String(all[..<start]) + new }
      return text
    }
    var result = ""
    var place = 0
    while place < all.count {
      let length =
        literalLength(in: all[place...])
        ?? (1...(all.count - place)).reversed().first { matches(all[place..<(place + $0)]) }
      if let length, length > 0 {
        result += new
        place += length
        if symbol != "//" { return result + String(all[place...]) }
      } else {
        if symbol == "/#" { return text }
        result.append(all[place])
        place += 1
      }
    }
    return result
  }

  /// Of a pattern that is a plain text: the length where it matches, or 0.
  private func literalLength(in text: ArraySlice<Character>) -> Int? {
    var place = text.startIndex
    var isHere = true
    for piece in pieces {
      guard case .character(let own) = piece else { return nil }
      if isHere { isHere = place < text.endIndex && text[place] == own }
      place += 1
    }
    return isHere ? pieces.count : 0
  }
}
