/// Enough of the shell's language to find the words of a command in a script, a command line or a log:
/// quotes, comments, continued lines, here-documents (skipped), redirections (dropped), and assignments of
/// fixed texts and arrays with their `$NAME`, `${NAME}`, `${NAME:-default}`, `"${NAME[@]}"`, `$((…))`.
/// Statements count in the order of the text, whatever `if` or function surrounds them. What can't be known
/// here (unset variables, `$(…)`) stays marked in the words.
struct ShellScript {
  /// The words of each command, expanded. A line that begins with `--` continues the command before it.
  private(set) var commands: [[String]] = []
  /// Names in the order of their first assignment.
  private(set) var assigned: [String] = []
  /// A scalar has one element.
  private(set) var variables: [String: [String]] = [:]

  private let bytes: [UInt8]
  private var position = 0
  private var words: [String] = []
  private var isDeclaring = false
  /// How many defaults of `${NAME:-default}` this one is within.
  private var depth = 0

  /// Encloses what could not be expanded.
  private static let mark: Character = "\u{0}"
  private static let declarations: Set<String> = ["export", "local", "declare", "readonly", "typeset"]
  private static let reserved: Set<String> = [
    "if", "then", "else", "elif", "do", "while", "fi", "done", "{", "}", "!",
  ]

  init(_ text: String) {
    bytes = text.utf8.filter { $0 != UInt8(ascii: "\r") && $0 != 0 }
    while let byte = peek() { step(byte) }
    endCommand()
  }

  /// The words behind a program among which its arguments are: of the command with the most known flags, the last of equals; or
  /// those of the variables that the script sets.
  ///
  /// - Parameter isKnown: whether a word up to its `=` is a flag of the program.
  func arguments(isKnown: (String) -> Bool) -> [String] {
    var best: [String] = []
    var bestCount = 0
    for command in commands {
      let program = command.lastIndex { $0.hasSuffix(".py") }
      let words = Array(command[(program.map { $0 + 1 } ?? 0)...])
      let count = words.count { word in isKnown(String(word.prefix { $0 != "=" })) }
      if count > 0, count >= bestCount { (best, bestCount) = (words, count) }
    }
    if bestCount > 0 { return best }
    return assigned.flatMap { (variables[$0] ?? []).flatMap(ShellScript.fields) }
  }

  /// The first part of `word` that could not be expanded, as it was written.
  static func unresolvedVariable(in word: String) -> String? {
    guard let start = word.firstIndex(of: mark) else { return nil }
    return String(word[word.index(after: start)...].prefix { $0 != mark })
  }

  /// The word with what could not be expanded as it was written.
  static func asWritten(_ word: String) -> String { word.filter { $0 != mark } }

  /// The texts between the blanks of `text`; what could not be expanded stays whole.
  static func fields(of text: String) -> [String] {
    var fields = ShellFields()
    fields.append([text], splitting: true, separately: true)
    return fields.finished
  }

  private func peek(_ distance: Int = 0) -> UInt8? {
    position + distance < bytes.count ? bytes[position + distance] : nil
  }

  private mutating func step(_ byte: UInt8) {
    switch byte {
    case UInt8(ascii: " "), UInt8(ascii: "\t"):
      position += 1
    case UInt8(ascii: "\n"), UInt8(ascii: ";"), UInt8(ascii: "&"), UInt8(ascii: "|"), UInt8(ascii: "("),
      UInt8(ascii: ")"):
      position += 1
      endCommand()
    case UInt8(ascii: "#"):
      skipLine()
    case UInt8(ascii: "<"), UInt8(ascii: ">"):
      redirect()
    default:
      if words.isEmpty, assign() { return }
      let fields = word(splitting: true)
      if words.isEmpty, let only = fields.first, fields.count == 1 {
        if Self.reserved.contains(only) { return }
        if Self.declarations.contains(only) {
          isDeclaring = true
          return
        }
        if isDeclaring { return }
      }
      words += fields
    }
  }

  private mutating func endCommand() {
    if let first = words.first {
      if first.hasPrefix("--"), !commands.isEmpty {
        commands[commands.count - 1] += words
      } else {
        commands.append(words)
      }
    }
    words = []
    isDeclaring = false
  }

  private mutating func skipLine() {
    while let byte = peek(), byte != UInt8(ascii: "\n") { position += 1 }
  }

  /// Drops a redirection and its target; of a here-document also the body.
  private mutating func redirect() {
    var op: [UInt8] = []
    while let byte = peek(), "<>&-".utf8.contains(byte) {
      op.append(byte)
      position += 1
    }
    while peek() == UInt8(ascii: " ") { position += 1 }
    let target = word(splitting: false).joined()
    guard op.starts(with: "<<".utf8), !op.starts(with: "<<<".utf8) else { return }
    skipLine()
    while peek() != nil {
      position += 1
      let start = position
      skipLine()
      let line = bytes[start..<position].drop { $0 == UInt8(ascii: "\t") || $0 == UInt8(ascii: " ") }
      if line.elementsEqual(target.utf8) { return }
    }
  }

  /// `NAME=word`, `NAME+=word`, `NAME=( words )` at the position, if there is one.
  private mutating func assign() -> Bool {
    var end = position
    while end < bytes.count, Self.isName(bytes[end], first: end == position) { end += 1 }
    guard end > position, end < bytes.count else { return false }
    let appends = bytes[end] == UInt8(ascii: "+")
    let equals = appends ? end + 1 : end
    guard equals < bytes.count, bytes[equals] == UInt8(ascii: "=") else { return false }
    let name = String(decoding: bytes[position..<end], as: UTF8.self)
    position = equals + 1
    if variables[name] == nil { assigned.append(name) }
    let old = appends ? variables[name] ?? [] : []
    if peek() == UInt8(ascii: "(") {
      position += 1
      variables[name] = old + array()
    } else {
      variables[name] = [old.joined(separator: " ") + word(splitting: false).joined(separator: " ")]
    }
    return true
  }

  private mutating func array() -> [String] {
    var items: [String] = []
    while let byte = peek() {
      switch byte {
      case UInt8(ascii: ")"):
        position += 1
        return items
      case UInt8(ascii: "#"): skipLine()
      case _ where Self.endsWord(byte): position += 1
      default: items += word(splitting: true)
      }
    }
    return items
  }

  /// The fields of the word at the position. The caller has seen that it does not begin with a separator.
  private mutating func word(splitting: Bool) -> [String] {
    var fields = ShellFields()
    let start = position
    while let byte = peek(), !Self.endsWord(byte) {
      switch byte {
      case UInt8(ascii: "\\"):
        position += 1
        if let escaped = peek() {
          position += 1
          if escaped != UInt8(ascii: "\n") { fields.append([escaped]) }
        }
      case UInt8(ascii: "'") where position == start || !Self.isName(bytes[position - 1], first: true):
        // Behind a letter it would be an apostrophe of a log's prose.
        position += 1
        let end = bytes[position...].firstIndex(of: UInt8(ascii: "'")) ?? bytes.count
        fields.append(bytes[position..<end])
        position = min(end + 1, bytes.count)
      case UInt8(ascii: "\""):
        position += 1
        quoted(&fields)
      case UInt8(ascii: "$"), UInt8(ascii: "`"):
        fields.append(expansion(), splitting: splitting, separately: true)
      default:
        position += 1
        fields.append([byte])
      }
    }
    if position == start { position += 1 }
    // `2>`: the number belongs to the redirection.
    if let next = peek(), next == UInt8(ascii: ">"), bytes[start..<position].allSatisfy(Self.isDigit) {
      return []
    }
    return fields.finished
  }

  private mutating func quoted(_ fields: inout ShellFields) {
    fields.append([])
    while let byte = peek(), byte != UInt8(ascii: "\"") {
      if byte == UInt8(ascii: "$") || byte == UInt8(ascii: "`") {
        let isArray = bytes[position...].starts(with: "${".utf8)
        fields.append(expansion(), splitting: false, separately: isArray)
        continue
      }
      position += 1
      if byte == UInt8(ascii: "\\"), let escaped = peek(), "\"\\$`\n".utf8.contains(escaped) {
        position += 1
        if escaped != UInt8(ascii: "\n") { fields.append([escaped]) }
      } else {
        fields.append([byte])
      }
    }
    position = min(position + 1, bytes.count)
  }

  /// The elements of the `$…` at the position; what is unknown, marked.
  private mutating func expansion() -> [String] {
    let start = position
    position += 1
    if bytes[start] == UInt8(ascii: "`") {
      while let byte = peek(), byte != UInt8(ascii: "`") { position += 1 }
      position = min(position + 1, bytes.count)
    } else if peek() == UInt8(ascii: "(") {
      skipNested(UInt8(ascii: "("), UInt8(ascii: ")"))
      let text = String(decoding: bytes[start..<position], as: UTF8.self)
      if text.hasPrefix("$(("), text.hasSuffix("))"),
        let value = ShellArithmetic.value(of: text.dropFirst(3).dropLast(2), variables: variables)
      {
        return [String(value)]
      }
    } else if peek() == UInt8(ascii: "{") {
      skipNested(UInt8(ascii: "{"), UInt8(ascii: "}"))
      let inside = bytes[(start + 2)..<position].dropLast()
      if let value = parameter(String(decoding: inside, as: UTF8.self)) { return value }
    } else {
      let nameStart = position
      while let byte = peek(), Self.isName(byte, first: position == nameStart) { position += 1 }
      if position == nameStart {
        guard let special = peek(), "@*#?$!0123456789".utf8.contains(special) else { return ["$"] }
        position += 1
      } else if let value = variables[String(decoding: bytes[nameStart..<position], as: UTF8.self)] {
        return value
      }
    }
    return ["\(Self.mark)\(String(decoding: bytes[start..<position], as: UTF8.self))\(Self.mark)"]
  }

  /// `NAME`, `NAME[@]`, `NAME:-default`; nil if unknown.
  private func parameter(_ inside: String) -> [String]? {
    let name = String(inside.prefix { $0 == "_" || $0.isASCII && ($0.isLetter || $0.isNumber) })
    let rest = inside.dropFirst(name.count)
    let value = variables[name]
    if rest.isEmpty || rest == "[@]" || rest == "[*]" { return value }
    for operation in [":-", ":=", "-", "="] where depth < 50 && rest.hasPrefix(operation) {
      if let value, operation.count == 1 || value.contains(where: { !$0.isEmpty }) { return value }
      return expand(rest.dropFirst(operation.count))
    }
    return nil
  }

  /// A default's text, quoted or not.
  private func expand(_ text: Substring) -> [String] {
    let isQuoted = text.count > 1 && text.first == text.last && (text.first == "'" || text.first == "\"")
    var inner = ShellScript(
      depth: depth + 1, bytes: Array((isQuoted ? text.dropFirst().dropLast() : text).utf8),
      variables: variables)
    var fields = ShellFields()
    inner.quoted(&fields)
    return fields.finished
  }

  private init(depth: Int, bytes: [UInt8], variables: [String: [String]]) {
    self.depth = depth
    self.bytes = bytes
    self.variables = variables
  }

  private mutating func skipNested(_ open: UInt8, _ close: UInt8) {
    var depth = 0
    while let byte = peek() {
      position += 1
      if byte == open { depth += 1 }
      if byte == close {
        depth -= 1
        if depth == 0 { return }
      }
    }
  }

  private static func endsWord(_ byte: UInt8) -> Bool { " \t\n;&|()<>".utf8.contains(byte) }
  private static func isDigit(_ byte: UInt8) -> Bool {
    (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
  }
  private static func isName(_ byte: UInt8, first: Bool) -> Bool {
    let letter = byte | 0x20
    return byte == UInt8(ascii: "_") || (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(letter)
      || !first && isDigit(byte)
  }
}
