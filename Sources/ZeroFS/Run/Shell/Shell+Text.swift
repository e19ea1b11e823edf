/// bash's own commands that read and write text.
extension Shell {
  // MARK: Input

  /// The next line of the input; `nil` where there is none, or where it isn't known.
  private mutating func nextLine() -> String? {
    guard let text = input, !text.isEmpty, !ShellUnknown.isIn(text) else { return nil }
    let end = text.firstIndex(of: "\n") ?? text.endIndex
    input = end < text.endIndex ? String(text[text.index(after: end)...]) : ""
    return String(text[..<end])
  }

  mutating func read(_ words: [String], _ line: Int) throws(ShellError) {
    var (names, isArray) = try Self.namesToRead(words, line)
    if names.isEmpty { names = ["REPLY"] }
    let isOpen = input == nil || input.map(ShellUnknown.isIn) == true
    guard let text = nextLine() else {
      for name in names {
        if isOpen { variables[name] = Self.open(name, nil, line) } else { try assign(name, "", line) }
      }
      status = isOpen ? nil : 1
      return
    }
    try record.spend(text.utf8.count, line)
    status = 0
    if isArray, let name = names.first {
      var fields = ShellFields(separators: separators)
      fields.split(text)
      variables[name] = ShellVariable(kind: .array, elements: fields.finished.map(\.text))
    } else {
      try assign(names, fieldsOf: text, line)
    }
  }

  /// What stands behind `read`.
  private static func namesToRead(_ words: [String], _ line: Int) throws(ShellError)
    -> (names: [String], isArray: Bool)
  {
    var names: [String] = []
    var isArray = false
    for word in words {
      if word.hasPrefix("-") {
        if word.contains(where: { !"ra".contains($0) && $0 != "-" }) {
          throw .syntax(line, "read \(word) isn't followed")
        }
        isArray = isArray || word.contains("a")
      } else {
        names.append(word)
      }
    }
    return (names, isArray)
  }

  /// One field for each name, and what is left over for the last.
  private mutating func assign(
    _ names: [String], fieldsOf text: String, _ line: Int
  ) throws(ShellError) {
    let separators = self.separators
    var remaining = text[...]
    for (index, name) in names.enumerated() {
      remaining = remaining.drop { $0.isWhitespace && separators.contains($0) }
      if index == names.count - 1 {
        while let last = remaining.last, last.isWhitespace, separators.contains(last) {
          remaining.removeLast()
        }
        try assign(name, String(remaining), line)
      } else {
        let field = remaining.prefix { !separators.contains($0) }
        remaining = remaining[field.endIndex...].dropFirst()
        try assign(name, String(field), line)
      }
    }
  }

  mutating func readLines(_ words: [String], _ line: Int) throws(ShellError) {
    guard let name = words.last, !name.hasPrefix("-"), words.dropLast().allSatisfy({ $0 == "-t" }) else {
      throw .syntax(line, "\(words.joined(separator: " ")) isn't followed")
    }
    guard input.map(ShellUnknown.isIn) == false else {
      variables[name] = Self.open(name, ShellVariable(kind: .array), line)
      status = 0
      return
    }
    var lines: [String] = []
    while let text = nextLine() { lines.append(text + (words.contains("-t") ? "" : "\n")) }
    variables[name] = ShellVariable(kind: .array, elements: lines)
    status = 0
  }

  // MARK: Output

  mutating func echo(_ words: [String], _ line: Int) throws(ShellError) {
    var rest = words[...]
    var (newline, escapes) = (true, false)
    while let word = rest.first, word.count > 1, word.hasPrefix("-"),
      word.dropFirst().allSatisfy({ "neE".contains($0) })
    {
      rest.removeFirst()
      if word.contains("n") { newline = false }
      if word.contains("e") { escapes = true }
    }
    let text = rest.joined(separator: " ")
    output += try (escapes ? ShellParser.unescaped(text, line) : text) + (newline ? "\n" : "")
    try record.spend(text.utf8.count, line)
    status = 0
  }

  mutating func printf(_ words: [String], _ line: Int) throws(ShellError) {
    var rest = words[...]
    var target: String?
    if rest.first == "-v" {
      rest.removeFirst()
      target = rest.popFirst()
    }
    if rest.first == "--" { rest.removeFirst() }
    guard let format = rest.popFirst() else { throw .syntax(line, "printf has no format") }
    var text = ""
    repeat {
      let before = rest.count
      text += try formatted(format, &rest, line)
      try record.spend(text.utf8.count, line)
      if rest.count == before { break }
    } while !rest.isEmpty
    if let target { try assign(target, text, line) } else { output += text }
    status = 0
  }

  private func formatted(_ format: String, _ words: inout ArraySlice<String>, _ line: Int) throws(ShellError)
    -> String
  {
    var result = ""
    var rest = try ShellParser.unescaped(format, line)[...]
    while let character = rest.popFirst() {
      guard character == "%" else {
        result.append(character)
        continue
      }
      let width = rest.prefix { $0.isNumber }
      rest = rest.dropFirst(width.count)
      switch rest.popFirst() {
      case "%": result += "%"
      case "s", "b":
        guard width.isEmpty else { throw .syntax(line, "this format of printf isn't followed") }
        result += words.popFirst() ?? ""
      case "d", "i":
        let word = words.popFirst() ?? "0"
        if ShellUnknown.isIn(word) {
          result += word
          continue
        }
        let digits = "\(try ShellArithmetic.number(word, line))"
        let filling = width.hasPrefix("0") ? "0" : " "
        result +=
          String(repeating: filling, count: min(max(0, (Int(width) ?? 0) - digits.count), 100)) + digits
      default: throw .syntax(line, "this format of printf isn't followed")
      }
    }
    return result
  }
}
