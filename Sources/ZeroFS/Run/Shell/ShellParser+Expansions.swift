import Bytes

extension ShellParser {
  /// The `$…` or backquotes at the position; `nil` for a lone `$`, which is passed.
  mutating func expansion(isQuoted: Bool) throws(ShellError) -> ShellPart? {
    let start = position
    if peek() == "`" { return try backquotes(isQuoted: isQuoted) }
    if starts("$((") {
      advance()
      let expression = try doubleParenthesis()
      return .arithmetic(expression, written: text(from: start), isQuoted: isQuoted)
    }
    if starts("$(") {
      advance(2)
      let body = try list()
      try expect(")")
      return .substitution(body, written: text(from: start), isQuoted: isQuoted)
    }
    if starts("${") {
      advance(2)
      return .parameter(try braces(from: start), isQuoted: isQuoted)
    }
    advance()
    guard let byte = peek() else { return nil }
    let nameStart = position
    if Self.isNameByte(byte, isFirst: true) {
      while let next = peek(), Self.isNameByte(next, isFirst: false) { advance() }
    } else if "@*#?$!-0123456789".unicodeScalars.contains(byte) {
      advance()
    } else {
      return nil
    }
    let name = text(from: nameStart)
    return .parameter(ShellParameter(name: name, written: "$" + name), isQuoted: isQuoted)
  }

  private mutating func backquotes(isQuoted: Bool) throws(ShellError) -> ShellPart {
    let (start, startLine) = (position, line)
    advance()
    var inside: [UInt8] = []
    while let byte = peek(), byte != "`" {
      if byte == "\\", let next = peek(1), "`\\$".unicodeScalars.contains(next) { advance() }
      inside.append(bytes[position])
      advance()
    }
    guard peek() == "`" else { throw .syntax(startLine, "a backquote is never closed") }
    advance()
    var parser = ShellParser(part: inside, line: startLine, depth: depth)
    let body = try parser.list()
    guard parser.position == inside.count else { throw parser.unexpected() }
    return .substitution(body, written: text(from: start), isQuoted: isQuoted)
  }

  /// Behind `${`.
  private mutating func braces(from start: Int) throws(ShellError) -> ShellParameter {
    var result = ShellParameter(name: "", written: "")
    if peek() == "#", peek(1) != "}" {
      result.isLength = true
      advance()
    } else if peek() == "!" {
      result.isIndirect = true
      advance()
    }
    let nameStart = position
    if let byte = peek(), Self.isNameByte(byte, isFirst: true) {
      while let next = peek(), Self.isNameByte(next, isFirst: false) { advance() }
    } else if let byte = peek(), Self.isDigit(byte) {
      while let next = peek(), Self.isDigit(next) { advance() }
    } else if let byte = peek(), "@*#?$!-".unicodeScalars.contains(byte) {
      advance()
    }
    result.name = text(from: nameStart)
    guard !result.name.isEmpty else { throw unexpected() }
    if peek() == "[" {
      advance()
      let (parts, keyLine) = (try parts(isQuoted: false, quotes: .all) { $0 == "]" }, line)
      guard peek() == "]" else { throw unexpected() }
      advance()
      result.key = ShellWord(parts: parts, line: keyLine)
      if result.isIndirect, result.isList {
        result.isIndirect = false
        result.isKeys = true
      }
    }
    result.operation = try operation()
    guard peek() == "}" else { throw .syntax(line, "the expansion \(text(from: start)) isn't followed") }
    advance()
    result.written = text(from: start)
    return result
  }

  private mutating func operation() throws(ShellError) -> ShellParameter.Operation? {
    guard let byte = peek(), byte != "}" else { return nil }
    for name in [":-", ":=", ":+", ":?", "-", "=", "+", "?"] where bytes[position...].starts(with: name.utf8)
    {
      advance(name.utf8.count)
      return .substitute(name, try operand())
    }
    for name in ["##", "#", "%%", "%"] where bytes[position...].starts(with: name.utf8) {
      advance(name.utf8.count)
      return .trim(name, try operand())
    }
    for name in ["^^", "^", ",,", ","] where bytes[position...].starts(with: name.utf8) {
      advance(name.utf8.count)
      return .changeCase(name)
    }
    for name in ["//", "/#", "/%", "/"] where bytes[position...].starts(with: name.utf8) {
      advance(name.utf8.count)
      let pattern = try operand(to: "/")
      guard peek() == "/" else { return .replace(name, pattern, ShellWord(parts: [], line: line)) }
      advance()
      return .replace(name, pattern, try operand())
    }
    guard byte == ":" else { return nil }
    advance()
    let offset = try operand(to: ":")
    guard peek() == ":" else { return .slice(offset, nil) }
    advance()
    return .slice(offset, try operand())
  }

  private mutating func operand(to end: Unicode.Scalar = "}") throws(ShellError) -> ShellWord {
    let start = line
    return ShellWord(
      parts: try parts(isQuoted: false, quotes: .all) { $0 == "}" || $0 == end }, line: start)
  }

  // MARK: Arithmetic

  mutating func doubleParenthesis() throws(ShellError) -> ShellWord {
    try arithmeticWord(try doubleParenthesisText())
  }

  /// What stands between `((` and `))`.
  mutating func doubleParenthesisText() throws(ShellError) -> [UInt8] {
    let (startLine, start) = (line, position + 2)
    var open = 0
    while let byte = peek() {
      if byte == "(" { open += 1 }
      if byte == ")" {
        open -= 1
        if open == 0 {
          advance()
          guard position - start >= 2, bytes[position - 2] == UInt8(ascii: ")") else {
            throw .syntax(startLine, "'((' isn't followed here")
          }
          return Array(bytes[start..<(position - 2)])
        }
      }
      advance()
    }
    throw .syntax(startLine, "'((' is never closed")
  }

  func arithmeticWord(_ text: [UInt8]) throws(ShellError) -> ShellWord {
    var parser = ShellParser(part: text, line: line, depth: depth)
    return ShellWord(parts: try parser.parts(isQuoted: true, quotes: .double) { _ in false }, line: line)
  }

  // MARK: Conditions

  /// Within `[[ … ]]`.
  mutating func condition() throws(ShellError) -> ShellCondition {
    var left = try conjunction()
    try skipSeparators(newlines: true)
    while starts("||") {
      advance(2)
      left = .or(left, try conjunction())
      try skipSeparators(newlines: true)
    }
    return left
  }

  private mutating func conjunction() throws(ShellError) -> ShellCondition {
    var left = try primary()
    try skipSeparators(newlines: true)
    while starts("&&") {
      advance(2)
      left = .and(left, try primary())
      try skipSeparators(newlines: true)
    }
    return left
  }

  private mutating func primary() throws(ShellError) -> ShellCondition {
    depth += 1
    defer { depth -= 1 }
    guard depth < Self.maxDepth else { throw .syntax(line, "conditions are nested too deeply") }
    try skipSeparators(newlines: true)
    if keyword() == "!" {
      advance()
      return .not(try primary())
    }
    if peek() == "(" {
      advance()
      let inner = try condition()
      try expect(")")
      return inner
    }
    let first = try word()
    try skipSeparators(newlines: false)
    if let flag = first.plain, flag.count == 2, flag.hasPrefix("-"), !starts("]]") {
      let operand = try word()
      return .unary(flag, operand)
    }
    if starts("]]") || starts("&&") || starts("||") || peek() == ")" || peek() == "\n" {
      return .unary("-n", first)
    }
    var symbol = ""
    if peek() == "<" || peek() == ">" {
      symbol = peek() == "<" ? "<" : ">"
      advance()
    } else {
      symbol = try word().plain ?? ""
    }
    guard symbol != "=~" else { throw .syntax(line, "'=~' isn't followed") }
    try skipSeparators(newlines: false)
    return .binary(first, symbol, try word())
  }

  // MARK: Redirections

  mutating func redirection() throws(ShellError) -> ShellRedirection? {
    var length = 0
    while let byte = peek(length), Self.isDigit(byte) { length += 1 }
    let isBoth = length == 0 && starts("&>")
    guard let symbol = peek(isBoth ? 1 : length), symbol == "<" || symbol == ">",
      isBoth || peek(length + 1) != "("
    else { return nil }
    let number = Int(String(decoding: bytes[position..<(position + length)], as: UTF8.self))
    advance(isBoth ? 1 : length)
    let descriptor = number ?? (symbol == "<" ? 0 : 1)
    func made(_ kind: ShellRedirection.Kind, _ length: Int) throws(ShellError) -> ShellRedirection {
      advance(length)
      try skipSeparators(newlines: false)
      return ShellRedirection(kind: kind, descriptor: descriptor, target: try word())
    }
    if starts("<<<") {
      var result = try made(.text, 3)
      result.target.parts.append(.literal("\n", isQuoted: true))
      return result
    }
    if starts("<<") { return try document(descriptor) }
    if starts(">>") { return try made(.append, 2) }
    if starts(">&") || starts("<&") { return try made(.duplicate, 2) }
    if starts("<>") { throw .syntax(line, "'<>' isn't followed") }
    if starts(">|") { return try made(.output, 2) }
    return try made(symbol == "<" ? .input : .output, 1)
  }

  /// A here-document, whose body begins behind this line or behind the one before on the line.
  private mutating func document(_ descriptor: Int) throws(ShellError) -> ShellRedirection {
    let startLine = line
    advance(2)
    let stripsTabs = peek() == "-"
    if stripsTabs { advance() }
    try skipSeparators(newlines: false)
    let end = try word()
    let isQuoted = end.plain == nil
    var name = ""
    for case .literal(let text, _) in end.parts { name += text }
    let lineEnd = document?.end ?? bytes[position...].firstIndex(of: 10) ?? bytes.count
    var next = document?.resume ?? min(lineEnd + 1, bytes.count)
    var body: [UInt8] = []
    while true {
      guard next < bytes.count else { throw .syntax(startLine, "the here-document has no end '\(name)'") }
      let stop = bytes[next...].firstIndex(of: 10) ?? bytes.count
      var text = bytes[next..<stop]
      if stripsTabs { text = text.drop { $0 == 9 } }
      next = min(stop + 1, bytes.count)
      if text.elementsEqual(name.utf8) { break }
      body += text
      body.append(10)
    }
    document = (lineEnd, next)
    var target = ShellWord(
      parts: [.literal(String(decoding: body, as: UTF8.self), isQuoted: true)], line: startLine)
    if !isQuoted {
      var parser = ShellParser(part: body, line: startLine + 1, depth: depth)
      target.parts = try parser.parts(isQuoted: true, quotes: .none) { _ in false }
    }
    return ShellRedirection(kind: .text, descriptor: descriptor, target: target)
  }
}
