/// The shell's arithmetic in 64 bits (bash(1), "ARITHMETIC EVALUATION"). `nil` is a value that isn't known.
struct ShellArithmetic {
  private var rest: Substring
  private var shell: Shell
  private let line: Int
  private var depth = 0
  /// Within an operand that isn't evaluated: `0 && x++`.
  private var isSkipped = false

  private static let levels: [[String]] = [
    ["||"], ["&&"], ["|"], ["^"], ["&"], ["==", "!="], ["<=", ">=", "<", ">"], ["<<", ">>"], ["+", "-"],
    ["*", "/", "%"],
  ]
  private static let assignments = ["=", "+=", "-=", "*=", "/=", "%="]

  static func value(_ text: String, _ shell: inout Shell, _ line: Int) throws(ShellError) -> Int? {
    var parser = ShellArithmetic(rest: text[...], shell: shell, line: line)
    // One owner, so that nothing is copied when a variable is set. An error ends the evaluation.
    shell.variables = [:]
    guard parser.next != nil else {
      shell = parser.shell
      return 0
    }
    var value = try parser.assignment()
    while parser.take(",") { value = try parser.assignment() }
    guard parser.next == nil else { throw parser.bad }
    shell = parser.shell
    return value
  }

  private init(rest: Substring, shell: Shell, line: Int) {
    self.rest = rest
    self.shell = shell
    self.line = line
  }

  private var bad: ShellError { .syntax(line, "this arithmetic isn't followed") }

  private var next: Character? {
    mutating get {
      rest = rest.drop { $0.isWhitespace }
      return rest.first
    }
  }

  private mutating func take(_ symbol: String) -> Bool {
    guard next != nil, rest.hasPrefix(symbol) else { return false }
    rest = rest.dropFirst(symbol.count)
    return true
  }

  private mutating func assignment() throws(ShellError) -> Int? {
    depth += 1
    defer { depth -= 1 }
    guard depth < 60 else { throw bad }
    _ = next
    let name = rest.prefix { $0 == "_" || $0.isASCII && ($0.isLetter || $0.isNumber) }
    if ShellParser.isName(name) {
      let before = rest
      rest = rest.dropFirst(name.count)
      _ = next
      for symbol in Self.assignments where rest.hasPrefix(symbol) && !rest.hasPrefix("==") {
        rest = rest.dropFirst(symbol.count)
        let value = try assignment()
        let result =
          symbol == "=" ? value : try apply(String(symbol.dropLast()), try number(String(name)), value)
        try store(String(name), result)
        return result
      }
      rest = before
    }
    return try ternary()
  }

  private mutating func ternary() throws(ShellError) -> Int? {
    let condition = try binary(0)
    guard take("?") else { return condition }
    let first = try operand(isEvaluated: condition != 0) { parser throws(ShellError) in
      try parser.assignment()
    }
    guard take(":") else { throw bad }
    let second = try operand(isEvaluated: condition == nil || condition == 0) { parser throws(ShellError) in
      try parser.assignment()
    }
    guard let condition else { return first == second ? first : nil }
    return condition != 0 ? first : second
  }

  private mutating func operand(
    isEvaluated: Bool, _ body: (inout Self) throws(ShellError) -> Int?
  ) throws(ShellError) -> Int? {
    let outer = isSkipped
    isSkipped = outer || !isEvaluated
    defer { isSkipped = outer }
    return try body(&self)
  }

  private mutating func binary(_ level: Int) throws(ShellError) -> Int? {
    guard level < Self.levels.count else { return try unary() }
    var left = try binary(level + 1)
    while let symbol = symbol(level) {
      rest = rest.dropFirst(symbol.count)
      let known = left
      let isEvaluated = symbol == "&&" ? known != 0 : symbol == "||" ? known == nil || known == 0 : true
      let right = try operand(isEvaluated: isEvaluated) { parser throws(ShellError) in
        try parser.binary(level + 1)
      }
      left = isSkipped ? 0 : try apply(symbol, left, right)
    }
    return left
  }

  private mutating func symbol(_ level: Int) -> String? {
    guard next != nil else { return nil }
    for symbol in Self.levels[level] where rest.hasPrefix(symbol) {
      let after = rest.dropFirst(symbol.count).first
      // Not the beginning of another one.
      if symbol.count == 1, "|&<>".contains(symbol), after == symbol.first { continue }
      if after == "=", !["==", "!=", "<=", ">="].contains(symbol) { continue }
      if symbol == "*", after == "*" { continue }
      return symbol
    }
    return nil
  }

  private func apply(_ symbol: String, _ left: Int?, _ right: Int?) throws(ShellError) -> Int? {
    switch symbol {
    case "&&" where left == 0 || right == 0: return 0
    case "||": if left ?? 0 != 0 || right ?? 0 != 0 { return 1 }
    default: break
    }
    guard let left, let right else { return nil }
    switch symbol {
    case "+": return left &+ right
    case "-": return left &- right
    case "*": return left &* right
    case "/", "%":
      guard right != 0 else {
        if isSkipped { return 0 }
        throw .syntax(line, "a division by zero")
      }
      return symbol == "/"
        ? left.dividedReportingOverflow(by: right).partialValue
        : left.remainderReportingOverflow(dividingBy: right).partialValue
    case "**":
      guard right >= 0, right < 64 else { throw bad }
      return (0..<right).reduce(1) { value, _ in value &* left }
    case "==": return left == right ? 1 : 0
    case "!=": return left != right ? 1 : 0
    case "<": return left < right ? 1 : 0
    case ">": return left > right ? 1 : 0
    case "<=": return left <= right ? 1 : 0
    case ">=": return left >= right ? 1 : 0
    case "&&": return left != 0 && right != 0 ? 1 : 0
    case "||": return left != 0 || right != 0 ? 1 : 0
    case "&": return left & right
    case "|": return left | right
    case "^": return left ^ right
    case "<<": return left &<< right
    case ">>": return left &>> right
    default: throw bad
    }
  }

  private mutating func unary() throws(ShellError) -> Int? {
    depth += 1
    defer { depth -= 1 }
    guard depth < 60 else { throw bad }
    for symbol in ["++", "--"] where take(symbol) {
      let name = word()
      guard ShellParser.isName(name) else { throw bad }
      let value = try number(name).map { symbol == "++" ? $0 &+ 1 : $0 &- 1 }
      try store(name, value)
      return value
    }
    if take("-") { return try unary().map { 0 &- $0 } }
    if take("+") { return try unary() }
    if take("!") { return try unary().map { $0 == 0 ? 1 : 0 } }
    if take("~") { return try unary().map { ~$0 } }
    let base = try primary()
    guard take("**") else { return base }
    return try apply("**", base, try unary())
  }

  private mutating func primary() throws(ShellError) -> Int? {
    if take("(") {
      var value = try assignment()
      while take(",") { value = try assignment() }
      guard take(")") else { throw bad }
      return value
    }
    if next == ShellUnknown.mark {
      rest = rest.dropFirst().drop { $0 != ShellUnknown.mark }.dropFirst()
      return nil
    }
    let name = word()
    guard !name.isEmpty else { throw bad }
    guard ShellParser.isName(name) else { return try Self.number(name, line) }
    guard rest.first != "[" else { throw bad }
    for symbol in ["++", "--"] where rest.hasPrefix(symbol) {
      rest = rest.dropFirst(2)
      let value = try number(name)
      try store(name, value.map { symbol == "++" ? $0 &+ 1 : $0 &- 1 })
      return value
    }
    return try number(name)
  }

  private mutating func word() -> String {
    _ = next
    let word = rest.prefix { $0 == "_" || $0 == "#" || $0.isASCII && ($0.isLetter || $0.isNumber) }
    rest = rest.dropFirst(word.count)
    return String(word)
  }

  static func number(_ text: String, _ line: Int) throws(ShellError) -> Int {
    let digits = text.lowercased()
    let value =
      digits.hasPrefix("0x")
      ? Int(digits.dropFirst(2), radix: 16)
      : digits.hasPrefix("0") && digits.count > 1 ? Int(digits.dropFirst(), radix: 8) : Int(digits)
    guard let value else { throw .syntax(line, "bash can't calculate with '\(text)'") }
    return value
  }

  /// The number that a variable holds. An unset one counts as 0 in bash, but the run may have it.
  private mutating func number(_ name: String) throws(ShellError) -> Int? {
    guard let text = try shell.elements(name, nil, line)?.first else { return nil }
    if ShellUnknown.isIn(text) { return nil }
    if text.isEmpty { return 0 }
    if let number = Int(text), !text.hasPrefix("0") || text == "0" { return number }
    return try ShellArithmetic.value(text, &shell, line, depth: depth + 1)
  }

  private static func value(_ text: String, _ shell: inout Shell, _ line: Int, depth: Int) throws(ShellError)
    -> Int?
  {
    try shell.enter(line)
    defer { shell.calls -= 1 }
    return try value(text, &shell, line)
  }

  private mutating func store(_ name: String, _ value: Int?) throws(ShellError) {
    guard !isSkipped else { return }
    try shell.assign(name, value.map(String.init) ?? ShellUnknown.text(line, "$" + name), line)
  }
}
