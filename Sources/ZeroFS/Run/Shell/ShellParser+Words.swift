import Bytes

extension ShellParser {
  // MARK: Characters

  func peek(_ distance: Int = 0) -> Unicode.Scalar? {
    position + distance < bytes.count ? Unicode.Scalar(bytes[position + distance]) : nil
  }

  func starts(_ text: StaticString) -> Bool {
    text.withUTF8Buffer { bytes[position...].starts(with: $0) }
  }

  mutating func advance(_ count: Int = 1) {
    for _ in 0..<count where position < bytes.count {
      let isNewline = bytes[position] == UInt8(ascii: "\n")
      position += 1
      guard isNewline else { continue }
      line += 1
      if let document, document.end == position - 1 {
        line += bytes[position..<document.resume].count { $0 == UInt8(ascii: "\n") }
        position = document.resume
        self.document = nil
      }
    }
  }

  /// Blanks, continued lines and comments.
  mutating func skipSeparators(newlines: Bool) throws(ShellError) {
    while let byte = peek() {
      if byte == " " || byte == "\t" || newlines && byte == "\n" {
        advance()
      } else if starts("\\\n") {
        advance(2)
      } else if byte == "#" {
        while let next = peek(), next != "\n" { advance() }
      } else {
        return
      }
    }
  }

  func unexpected() -> ShellError {
    guard let byte = peek() else { return .syntax(line, "the script ends within a command") }
    let text = byte == "\n" ? "the line ends here" : "'\(byte)' stands here"
    return .syntax(
      line, "bash can't read this: \(text) where something else is needed (a placeholder to fill in?)")
  }

  mutating func expect(_ byte: Unicode.Scalar) throws(ShellError) {
    try skipSeparators(newlines: true)
    guard peek() == byte else { throw unexpected() }
    advance()
  }

  mutating func expect(keyword word: String) throws(ShellError) {
    try skipSeparators(newlines: true)
    guard keyword() == word else { throw unexpected() }
    advance(word.utf8.count)
  }

  private static let reserved: Set<String> = [
    "if", "then", "elif", "else", "fi", "for", "while", "until", "do", "done", "case", "esac", "function",
    "{",
    "}", "!", "[[", "time", "select", "coproc", "in",
  ]

  /// The reserved word at the position.
  func keyword() -> String? {
    guard let first = peek(), first >= "a" && first <= "w" || "{}![".unicodeScalars.contains(first) else {
      return nil
    }
    let word = bytes[position...].prefix(9).prefix { !Self.endsWord(Unicode.Scalar($0)) }
    guard let text = String(validating: word, as: UTF8.self), Self.reserved.contains(text) else { return nil }
    return text
  }

  static func endsWord(_ byte: Unicode.Scalar) -> Bool {
    switch byte {
    case " ", "\t", "\n", ";", "&", "|", "(", ")", "<", ">": true
    default: false
    }
  }

  static func isNameByte(_ byte: Unicode.Scalar, isFirst: Bool) -> Bool {
    switch byte {
    case "a"..."z", "A"..."Z", "_": true
    case "0"..."9": !isFirst
    default: false
    }
  }

  static func isDigit(_ byte: Unicode.Scalar) -> Bool { byte >= "0" && byte <= "9" }

  static func isName(_ text: some StringProtocol) -> Bool {
    guard let first = text.unicodeScalars.first, isNameByte(first, isFirst: true) else { return false }
    return text.unicodeScalars.allSatisfy { isNameByte($0, isFirst: false) }
  }

  func text(from start: Int) -> String { String(decoding: bytes[start..<position], as: UTF8.self) }

  // MARK: Words

  enum Quotes { case all, double, none }

  mutating func word() throws(ShellError) -> ShellWord {
    let start = line
    guard let first = peek(), !Self.endsWord(first) || starts("<(") || starts(">(") else {
      throw unexpected()
    }
    let parts = try parts(isQuoted: false, quotes: .all) { Self.endsWord($0) }
    return ShellWord(parts: parts, line: start)
  }

  /// Pieces up to a byte that ends them, or the end.
  mutating func parts(
    isQuoted: Bool, quotes: Quotes, until isEnd: (Unicode.Scalar) -> Bool
  ) throws(ShellError) -> [ShellPart] {
    depth += 1
    defer { depth -= 1 }
    guard depth < Self.maxDepth else { throw .syntax(line, "expansions are nested too deeply") }
    var pieces = ShellPieces(isQuoted: isQuoted)
    while let byte = peek() {
      if quotes == .all, !isQuoted, starts("<(") || starts(">(") {
        pieces.append(try process())
        continue
      }
      if isEnd(byte) { break }
      switch byte {
      case "\0": pieces.append(unknown())
      case "\\": escape(&pieces, quotes, isEnd)
      case "\"" where quotes != .none:
        advance()
        for part in try quoted() { pieces.append(part) }
      case "'" where quotes == .all: pieces.append(.literal(try apostrophes(), isQuoted: true))
      case "$" where quotes == .all && starts("$'"):
        advance()
        pieces.append(.literal(try ansi(), isQuoted: true))
      case "$", "`":
        pieces.flush()
        if let part = try expansion(isQuoted: isQuoted) {
          pieces.append(part)
        } else {
          pieces.append(byte: UInt8(ascii: "$"))
        }
      default:
        pieces.append(byte: bytes[position])
        advance()
      }
    }
    pieces.flush()
    return pieces.parts
  }

  /// What couldn't be known when a text for `eval` or `bash -c` was made: between NUL bytes.
  private mutating func unknown() -> ShellPart {
    let start = position
    repeat { advance() } while peek() != nil && peek() != "\0"
    advance()
    return .literal(text(from: start), isQuoted: true)
  }

  /// A backslash, with the character that it takes its meaning from.
  private mutating func escape(
    _ pieces: inout ShellPieces, _ quotes: Quotes, _ isEnd: (Unicode.Scalar) -> Bool
  ) {
    let backslash = bytes[position]
    advance()
    guard let next = peek() else { return pieces.append(byte: backslash) }
    if next == "\n" { return advance() }
    guard pieces.isQuoted else {
      let start = position
      advance()
      while let more = peek(), more.value & 0xC0 == 0x80 { advance() }
      return pieces.append(.literal(text(from: start), isQuoted: true))
    }
    let isSpecial =
      "$`\\".unicodeScalars.contains(next) || quotes != .none && (next == "\"" || next == "}") || isEnd(next)
    guard isSpecial else { return pieces.append(byte: backslash) }
    pieces.append(byte: bytes[position])
    advance()
  }

  /// The pieces between double quotes, behind the first.
  private mutating func quoted() throws(ShellError) -> [ShellPart] {
    let start = line
    let inside = try parts(isQuoted: true, quotes: .none) { $0 == "\"" }
    guard peek() == "\"" else { throw .syntax(start, "a quote is never closed") }
    advance()
    return inside.isEmpty ? [.literal("", isQuoted: true)] : inside
  }

  private mutating func apostrophes() throws(ShellError) -> String {
    let start = line
    advance()
    let from = position
    while let byte = peek(), byte != "'" { advance() }
    guard peek() != nil else { throw .syntax(start, "a quote is never closed") }
    let text = text(from: from)
    advance()
    return text
  }

  private mutating func ansi() throws(ShellError) -> String {
    let text = try apostrophes()
    guard !text.hasSuffix("\\") else { throw .syntax(line, "$'…' with quotes isn't followed") }
    return try ShellParser.unescaped(text, line)
  }

  /// `\n` and its like, as `$'…'`, `echo -e` and `printf` read them.
  static func unescaped(_ text: String, _ line: Int) throws(ShellError) -> String {
    guard text.contains("\\") else { return text }
    var result = ""
    var rest = text.unicodeScalars[...]
    while let scalar = rest.popFirst() {
      guard scalar == "\\", let next = rest.popFirst() else {
        result.unicodeScalars.append(scalar)
        continue
      }
      switch next {
      case "n": result += "\n"
      case "t": result += "\t"
      case "\\", "'", "\"": result.unicodeScalars.append(next)
      case "e": result += "\u{1B}"
      case "a": result += "\u{7}"
      case "r": result += "\r"
      case "0":
        let digits = rest.prefix(3).prefix { "01234567".unicodeScalars.contains($0) }
        rest = rest.dropFirst(digits.count)
        guard let code = UInt8(String(digits), radix: 8), code > 0 else {
          throw .syntax(line, "an escape isn't followed")
        }
        result.unicodeScalars.append(Unicode.Scalar(code))
      default: throw .syntax(line, "the escape '\\\(next)' isn't followed")
      }
    }
    return result
  }

  private mutating func process() throws(ShellError) -> ShellPart {
    let start = position
    advance(2)
    _ = try list()
    try expect(")")
    return .process(written: text(from: start))
  }

  // MARK: Assignments

  /// `NAME=word`, `NAME[key]+=word`, `NAME=( … )`, where there is one.
  mutating func assignment() throws(ShellError) -> ShellAssignment? {
    let before = self
    let start = position
    while let byte = peek(), Self.isNameByte(byte, isFirst: position == start) { advance() }
    let name = text(from: start)
    var key: ShellWord?
    if !name.isEmpty, peek() == "[" {
      advance()
      key = ShellWord(parts: try parts(isQuoted: false, quotes: .all) { $0 == "]" || $0 == "\n" }, line: line)
      if peek() == "]" {
        advance()
      } else {
        self = before
        return nil
      }
    }
    let appends = starts("+=")
    guard !name.isEmpty, peek() == "=" || appends else {
      self = before
      return nil
    }
    advance(appends ? 2 : 1)
    if peek() == "(" {
      return ShellAssignment(name: name, key: key, appends: appends, value: .array(try items()))
    }
    var value = ShellWord(parts: [], line: line)
    if let byte = peek(), !Self.endsWord(byte) || starts("<(") { value = try word() }
    return ShellAssignment(name: name, key: key, appends: appends, value: .word(value))
  }

  private mutating func items() throws(ShellError) -> [(key: ShellWord?, value: ShellWord)] {
    advance()
    var items: [(key: ShellWord?, value: ShellWord)] = []
    while true {
      try skipSeparators(newlines: true)
      if peek() == ")" { break }
      var key: ShellWord?
      if peek() == "[" {
        advance()
        key = ShellWord(
          parts: try parts(isQuoted: false, quotes: .all) { $0 == "]" || $0 == "\n" }, line: line)
        guard starts("]=") else { throw unexpected() }
        advance(2)
        if let byte = peek(), Self.endsWord(byte) {
          items.append((key, ShellWord(parts: [], line: line)))
          continue
        }
      }
      items.append((key, try word()))
    }
    advance()
    return items
  }
}
