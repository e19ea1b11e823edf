/// The shell's `$(( … ))` over integers: `+ - * / %`, signs, parentheses, and variables with or without `$`.
struct ShellArithmetic {
  private var rest: Substring
  private let variables: [String: [String]]
  private var depth = 0

  /// The value of `expression`; nil where it has anything else, an unset variable, an overflow or a division
  /// by zero.
  static func value(of expression: Substring, variables: [String: [String]]) -> Int? {
    var parser = ShellArithmetic(expression, variables)
    guard let value = parser.sum(), parser.next == nil else { return nil }
    return value
  }

  private init(_ expression: Substring, _ variables: [String: [String]]) {
    rest = expression
    self.variables = variables
  }

  /// The next character that is no blank.
  private var next: Character? { rest.first { !$0.isWhitespace } }

  private mutating func take() {
    rest = rest.drop { $0.isWhitespace }.dropFirst()
  }

  private mutating func sum() -> Int? {
    guard var value = product() else { return nil }
    while let symbol = next, symbol == "+" || symbol == "-" {
      take()
      guard let other = product() else { return nil }
      let (result, overflow) =
        symbol == "+" ? value.addingReportingOverflow(other) : value.subtractingReportingOverflow(other)
      if overflow { return nil }
      value = result
    }
    return value
  }

  private mutating func product() -> Int? {
    guard var value = factor() else { return nil }
    while let symbol = next, symbol == "*" || symbol == "/" || symbol == "%" {
      take()
      guard let other = factor() else { return nil }
      let (result, overflow) =
        switch symbol {
        case "*": value.multipliedReportingOverflow(by: other)
        case "/": value.dividedReportingOverflow(by: other)
        default: value.remainderReportingOverflow(dividingBy: other)
        }
      if overflow { return nil }
      value = result
    }
    return value
  }

  private mutating func factor() -> Int? {
    guard depth < 100 else { return nil }
    depth += 1
    defer { depth -= 1 }
    switch next {
    case "(":
      take()
      let value = sum()
      guard next == ")" else { return nil }
      take()
      return value
    case "-":
      take()
      return factor().flatMap { 0.subtractingReportingOverflow($0).overflow ? nil : 0 - $0 }
    case "+":
      take()
      return factor()
    case "$":
      take()
      let isBraced = rest.first == "{"
      if isBraced { rest.removeFirst() }
      let value = word()
      if isBraced {
        guard rest.first == "}" else { return nil }
        rest.removeFirst()
      }
      return value
    default:
      return word()
    }
  }

  /// A number, or the number that a variable holds.
  private mutating func word() -> Int? {
    rest = rest.drop { $0.isWhitespace }
    let word = rest.prefix { $0 == "_" || $0.isASCII && ($0.isLetter || $0.isNumber) }
    rest = rest[word.endIndex...]
    if let number = ArgumentValue.int(python: word) { return number }
    guard let value = variables[String(word)], value.count == 1 else { return nil }
    return ArgumentValue.int(python: value[0])
  }
}
