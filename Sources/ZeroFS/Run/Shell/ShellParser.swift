import Bytes

/// Reads a script. The grammar of commands; words are in `ShellParser+Words.swift`.
struct ShellParser {
  let bytes: [UInt8]
  var position = 0
  var line = 1
  var depth = 0
  /// Where the bodies of the line's here-documents are: from its end to `resume`.
  var document: (end: Int, resume: Int)?

  static let maxDepth = 100
  private static let closing: Set<String> = ["then", "else", "elif", "fi", "do", "done", "esac", "}"]
  static let declarations: Set<String> = ["export", "local", "declare", "readonly", "typeset"]

  static func parse(_ text: String, line: Int = 1) throws(ShellError) -> ShellList {
    var parser = ShellParser(bytes: text.utf8.filter { $0 != 13 }, line: line)
    let list = try parser.list()
    guard parser.position == parser.bytes.count else {
      throw parser.unexpected()
    }
    return list
  }

  private init(bytes: [UInt8], line: Int) {
    self.bytes = bytes
    self.line = line
  }

  init(part text: [UInt8], line: Int, depth: Int) {
    self.init(bytes: text, line: line)
    self.depth = depth
  }

  // MARK: Lists

  /// Statements up to a closing word, `)` or the end.
  mutating func list() throws(ShellError) -> ShellList {
    depth += 1
    defer { depth -= 1 }
    guard depth < Self.maxDepth else { throw ShellError.syntax(line, "commands are nested too deeply") }
    var list = ShellList()
    var connector = ShellPipeline.Connector.next
    while true {
      try skipSeparators(newlines: true)
      guard let byte = peek() else { break }
      if byte == ")" || starts(";;") || starts(";&") { break }
      if let word = keyword(), Self.closing.contains(word) { break }
      list.pipelines.append(try pipeline(connector))
      try skipSeparators(newlines: false)
      connector = .next
      if starts("&&") {
        advance(2)
        connector = .and
      } else if starts("||") {
        advance(2)
        connector = .or
      } else if starts(";;") || starts(";&") {
        break
      } else if peek() == ";" || peek() == "&" {
        advance()
      } else if peek() != nil, peek() != "\n", peek() != ")" {
        throw unexpected()
      }
    }
    if connector != .next { throw unexpected() }
    return list
  }

  private mutating func pipeline(_ connector: ShellPipeline.Connector) throws(ShellError) -> ShellPipeline {
    var result = ShellPipeline(connector: connector, isNegated: false, statements: [])
    while let word = keyword(), word == "!" || word == "time" {
      advance(word.utf8.count)
      if word == "!" { result.isNegated.toggle() }
      try skipSeparators(newlines: false)
    }
    while true {
      result.statements.append(try statement())
      try skipSeparators(newlines: false)
      guard peek() == "|", !starts("||") else { return result }
      advance(starts("|&") ? 2 : 1)
      try skipSeparators(newlines: true)
    }
  }

  private mutating func statement() throws(ShellError) -> ShellStatement {
    let start = line
    var result = ShellStatement(command: .group(ShellList()), redirections: [], line: start)
    result.command = try command(&result.redirections)
    if case .simple = result.command { return result }
    try skipSeparators(newlines: false)
    while let redirection = try redirection() {
      result.redirections.append(redirection)
      try skipSeparators(newlines: false)
    }
    return result
  }

  // MARK: Commands

  private mutating func command(_ redirections: inout [ShellRedirection]) throws(ShellError) -> ShellCommand {
    if starts("((") { return .arithmetic(try doubleParenthesis()) }
    if peek() == "(" {
      advance()
      let body = try list()
      try expect(")")
      return .subshell(body)
    }
    switch keyword() {
    case "{":
      advance()
      let body = try list()
      try expect(keyword: "}")
      return .group(body)
    case "if": return try conditional()
    case "for": return try loopOverWords()
    case "while", "until": return try conditionalLoop()
    case "case": return try selection()
    case "function": return try function()
    case "[[":
      advance(2)
      let condition = try self.condition()
      try skipSeparators(newlines: true)
      guard starts("]]") else { throw unexpected() }
      advance(2)
      return .condition(condition)
    case "select", "coproc": throw ShellError.syntax(line, "'\(keyword() ?? "")' isn't followed")
    case let word? where Self.closing.contains(word):
      throw unexpected()
    default: return try simple(&redirections)
    }
  }

  private mutating func conditional() throws(ShellError) -> ShellCommand {
    var branches: [(condition: ShellList, body: ShellList)] = []
    var otherwise = ShellList()
    while let word = keyword(), word == "if" || word == "elif" {
      if word == "if", !branches.isEmpty { break }
      advance(word.utf8.count)
      let condition = try list()
      try expect(keyword: "then")
      branches.append((condition, try list()))
    }
    if keyword() == "else" {
      advance(4)
      otherwise = try list()
    }
    try expect(keyword: "fi")
    return .branches(branches, otherwise: otherwise)
  }

  private mutating func conditionalLoop() throws(ShellError) -> ShellCommand {
    let isUntil = keyword() == "until"
    advance(5)
    let condition = try list()
    return .loop(condition: condition, isUntil: isUntil, body: try doneBody())
  }

  private mutating func loopOverWords() throws(ShellError) -> ShellCommand {
    advance(3)
    try skipSeparators(newlines: false)
    if starts("((") {
      let text = try doubleParenthesisText()
      let pieces = text.split(separator: UInt8(ascii: ";"), omittingEmptySubsequences: false)
      guard pieces.count == 3 else { throw unexpected() }
      var words: [ShellWord] = []
      for piece in pieces { words.append(try arithmeticWord(Array(piece))) }
      return .counted(
        first: words[0], condition: words[1], step: words[2], body: try doneBody())
    }
    guard let name = try word().plain, Self.isName(name) else { throw unexpected() }
    try skipSeparators(newlines: true)
    var words: [ShellWord]?
    if keyword() == "in" {
      advance(2)
      words = []
      try skipSeparators(newlines: false)
      while let byte = peek(), byte != "\n", byte != ";" {
        words?.append(try word())
        try skipSeparators(newlines: false)
      }
    }
    return .each(name: name, words: words, body: try doneBody())
  }

  private mutating func doneBody() throws(ShellError) -> ShellList {
    try skipSeparators(newlines: true)
    if peek() == ";" {
      advance()
      try skipSeparators(newlines: true)
    }
    try expect(keyword: "do")
    let body = try list()
    try expect(keyword: "done")
    return body
  }

  private mutating func selection() throws(ShellError) -> ShellCommand {
    advance(4)
    try skipSeparators(newlines: false)
    let subject = try word()
    try skipSeparators(newlines: true)
    try expect(keyword: "in")
    var cases: [ShellCase] = []
    while true {
      try skipSeparators(newlines: true)
      if keyword() == "esac" { break }
      if peek() == "(" { advance() }
      var patterns: [ShellWord] = []
      while true {
        try skipSeparators(newlines: false)
        patterns.append(try word())
        try skipSeparators(newlines: false)
        guard peek() == "|" else { break }
        advance()
      }
      try expect(")")
      let body = try list()
      if starts(";&") || starts(";;&") { throw ShellError.syntax(line, "';&' isn't followed") }
      if starts(";;") {
        advance(2)
      } else if keyword() != "esac" {
        throw unexpected()
      }
      cases.append(ShellCase(patterns: patterns, body: body))
    }
    advance(4)
    return .select(subject, cases)
  }

  /// `function NAME`, with or without parentheses.
  private mutating func function() throws(ShellError) -> ShellCommand {
    advance(8)
    try skipSeparators(newlines: false)
    let name = try word().plain ?? ""
    try skipSeparators(newlines: false)
    if peek() == "(" {
      advance()
      try expect(")")
    }
    return try function(named: name)
  }

  private mutating func function(named name: String) throws(ShellError) -> ShellCommand {
    try skipSeparators(newlines: true)
    guard !name.isEmpty else { throw unexpected() }
    return .function(name: name, body: try statement())
  }

  private mutating func simple(_ redirections: inout [ShellRedirection]) throws(ShellError) -> ShellCommand {
    var assignments: [ShellAssignment] = []
    var words: [ShellItem] = []
    var declares = false
    while let byte = peek(), !"\n;&|)".unicodeScalars.contains(byte) || starts("&>") {
      if let redirection = try redirection() {
        redirections.append(redirection)
      } else if words.isEmpty || declares, let assignment = try assignment() {
        if declares { words.append(.assignment(assignment)) } else { assignments.append(assignment) }
      } else if byte == "(" {
        guard words.count == 1, case .word(let first) = words[0], let name = first.plain else {
          throw unexpected()
        }
        advance()
        try skipSeparators(newlines: false)
        try expect(")")
        return try function(named: name)
      } else {
        let next = try word()
        if words.isEmpty, let name = next.plain { declares = Self.declarations.contains(name) }
        words.append(.word(next))
      }
      try skipSeparators(newlines: false)
    }
    if assignments.isEmpty, words.isEmpty, redirections.isEmpty { throw unexpected() }
    return .simple(assignments: assignments, words: words)
  }
}
