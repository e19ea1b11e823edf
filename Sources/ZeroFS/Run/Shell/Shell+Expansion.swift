import Bytes

/// Expansions (bash(1), "EXPANSION").
extension Shell {
  /// The words that one word of a command becomes.
  mutating func fields(_ word: ShellWord) throws(ShellError) -> [String] {
    if let range = try braces(word) { return range }
    var fields = ShellFields(separators: separators)
    for (index, part) in word.parts.enumerated() {
      switch part {
      case .literal(let literal, let isQuoted):
        var text = literal
        if !isQuoted, index == 0 { text = tilde(text, word.line) }
        fields.append(text, isGlob: !isQuoted && Self.isGlob(text))
      case .parameter(let parameter, let isQuoted) where parameter.isList && !parameter.isLength:
        try fields.append(
          items: items(parameter, word.line), isQuoted: isQuoted,
          joins: parameter.joins && isQuoted)
      default:
        let (text, isQuoted) = try value(part, word.line)
        if isQuoted { fields.append(text) } else { fields.split(text) }
      }
    }
    var size = 0
    let result = fields.finished.map { field in
      size += field.text.utf8.count
      return field.isGlob ? ShellUnknown.text(word.line, field.text) : field.text
    }
    try record.spend(size, word.line)
    return result
  }

  /// The one text that a word becomes where words aren't split.
  mutating func text(_ word: ShellWord) throws(ShellError) -> String {
    var result = ""
    for (index, part) in word.parts.enumerated() {
      switch part {
      case .literal(let literal, let isQuoted):
        result += !isQuoted && index == 0 ? tilde(literal, word.line) : literal
      case .parameter(let parameter, _) where parameter.isList && !parameter.isLength:
        result += try items(parameter, word.line).joined(separator: " ")
      default: result += try value(part, word.line).text
      }
    }
    try record.spend(result.utf8.count, word.line)
    return result
  }

  /// A pattern: what is quoted in the word stands for itself.
  mutating func pattern(_ word: ShellWord) throws(ShellError) -> String {
    var result = ""
    for part in word.parts {
      switch part {
      case .literal(let literal, let isQuoted): result += isQuoted ? ShellPattern.quoted(literal) : literal
      case .parameter(let parameter, let isQuoted) where parameter.isList && !parameter.isLength:
        let text = try items(parameter, word.line).joined(separator: " ")
        result += isQuoted ? ShellPattern.quoted(text) : text
      default:
        let (text, isQuoted) = try value(part, word.line)
        result += isQuoted ? ShellPattern.quoted(text) : text
      }
    }
    try record.spend(result.utf8.count, word.line)
    return result
  }

  private mutating func value(_ part: ShellPart, _ line: Int) throws(ShellError) -> (
    text: String, isQuoted: Bool
  ) {
    switch part {
    case .literal(let text, let isQuoted): return (text, isQuoted)
    case .process(let written): return (ShellUnknown.text(line, written), true)
    case .parameter(let parameter, let isQuoted): return (try scalar(parameter, line), isQuoted)
    case .arithmetic(let word, let written, let isQuoted):
      return (try arithmetic(word).map(String.init) ?? ShellUnknown.text(line, written), isQuoted)
    case .substitution(let list, let written, let isQuoted):
      return (try substitute(list, written, line), isQuoted)
    }
  }

  private mutating func substitute(_ list: ShellList, _ written: String, _ line: Int) throws(ShellError)
    -> String
  {
    try enter(line)
    defer { calls -= 1 }
    if let file = list.onlyFile {
      return try contents(text(file), line).map(Self.trimmed) ?? ShellUnknown.text(line, written)
    }
    let result = try subshell { shell throws(ShellError) in
      shell.output = ""
      try shell.run(list)
    }
    status = result.status
    return ShellUnknown.isIn(result.output) && ShellUnknown.parts(of: result.output).count == 1
      && result.output.first == ShellUnknown.mark && result.output.last == ShellUnknown.mark
      ? ShellUnknown.text(line, written) : Self.trimmed(result.output)
  }

  mutating func enter(_ line: Int) throws(ShellError) {
    calls += 1
    if calls > Self.maxCalls { throw .tooLong(line) }
  }

  private static func trimmed(_ text: String) -> String {
    var text = text[...]
    while text.last == "\n" { text.removeLast() }
    return String(text)
  }

  // MARK: Parameters

  /// The elements of `$name`; `nil` of an unset one.
  mutating func elements(_ name: String, _ key: ShellWord? = nil, _ line: Int) throws(ShellError) -> [String]?
  {
    if let number = Int(name) {
      if number == 0 { return [self.name] }
      return number <= arguments.count ? [arguments[number - 1]] : nil
    }
    switch name {
    case "?": return [status.map(String.init) ?? ShellUnknown.text(line, "$?")]
    case "#":
      if arguments.isEmpty, hidden.isEmpty { record.hasNoArguments(line: line) }
      return ["\(arguments.count)"]
    case "@", "*": return allArguments(line)
    case "LINENO": return ["\(line)"]
    case "PWD": return [directory ?? ShellUnknown.text(line, "$PWD")]
    case "BASH_SOURCE": return [file]
    case "IFS" where variables[name] == nil: return [" \t\n"]
    case _ where Self.volatile.contains(name): return [ShellUnknown.text(line, "$" + name)]
    default: break
    }
    guard let variable = variables[name] else { return nil }
    guard let key, !["@", "*"].contains(key.plain) else {
      return key != nil || variable.kind == .scalar ? variable.elements : variable.elements.first.map { [$0] }
    }
    switch variable.kind {
    case .map:
      let name = try text(key)
      return ShellUnknown.isIn(name) ? [ShellUnknown.text(line, "$\(name)")] : variable[name].map { [$0] }
    case .array, .scalar:
      guard let index = try arithmetic(key) else { return [ShellUnknown.text(line, "$" + name)] }
      let place = index < 0 ? variable.elements.count + index : index
      if let only = variable.elements.first, variable.elements.count == 1, ShellUnknown.isIn(only) {
        return [only]
      }
      return variable.elements.indices.contains(place) ? [variable.elements[place]] : nil
    }
  }

  func allArguments(_ line: Int) -> [String] {
    if arguments.isEmpty, hidden.isEmpty { record.hasNoArguments(line: line) }
    return arguments
  }

  /// What stands for a variable that neither the script nor the environment sets.
  func unset(_ parameter: ShellParameter, _ line: Int) -> String {
    ShellUnknown.text(line, parameter.written)
  }

  private mutating func scalar(_ parameter: ShellParameter, _ line: Int) throws(ShellError) -> String {
    var parameter = parameter
    if parameter.isIndirect {
      guard let target = try elements(parameter.name, parameter.key, line)?.first, ShellParser.isName(target)
      else {
        return unset(parameter, line)
      }
      parameter.name = target
      parameter.key = nil
      parameter.isIndirect = false
    }
    let found = try elements(parameter.name, parameter.key, line)
    if parameter.isLength {
      guard let found else { return parameter.isList ? "0" : unset(parameter, line) }
      if found.contains(where: ShellUnknown.isIn) { return ShellUnknown.text(line, parameter.written) }
      return "\(parameter.isList ? found.count : found.first?.count ?? 0)"
    }
    if case .substitute(let symbol, let operand)? = parameter.operation {
      return try substitute(parameter, symbol, operand, found, line)
    }
    guard let value = found?.first else {
      return found == nil ? unset(parameter, line) : ""
    }
    return try changed(value, parameter, line)
  }

  /// `${name:-word}` and its like.
  private mutating func substitute(
    _ parameter: ShellParameter, _ symbol: String, _ operand: ShellWord, _ found: [String]?, _ line: Int
  ) throws(ShellError) -> String {
    let value = found.map { $0.joined(separator: " ") }
    let isMissing = symbol.hasPrefix(":") ? value?.isEmpty ?? true : value == nil
    if value == nil {
      if missing != nil { return unset(parameter, line) }
      if Int(parameter.name) != nil || parameter.isList {
        record.hasNoArguments(line: line)
      } else {
        record.takesDefault(parameter.name, line: line)
      }
    }
    switch symbol.last {
    case "+":
      if let value, ShellUnknown.isIn(value) { return ShellUnknown.text(line, parameter.written) }
      return isMissing ? "" : try text(operand)
    case "?": return isMissing ? unset(parameter, line) : value ?? ""
    default:
      guard isMissing else { return value ?? "" }
      let text = try text(operand)
      if symbol.last == "=" { try assign(parameter.name, text, line) }
      return text
    }
  }

  /// All items of a list, with what the operation makes of each.
  private mutating func items(_ parameter: ShellParameter, _ line: Int) throws(ShellError) -> [String] {
    if parameter.isKeys {
      guard let variable = variables[parameter.name] else { return [] }
      return variable.kind == .map
        ? try inOrder(variable.places.keys.sorted(), parameter, line)
        : variable.elements.indices.map(String.init)
    }
    let found = try elements(parameter.name, parameter.key, line)
    switch parameter.operation {
    case .substitute(let symbol, let operand)?:
      if found?.isEmpty == false, symbol.last != "+" { return found ?? [] }
      let text = try substitute(parameter, symbol, operand, found?.isEmpty == true ? nil : found, line)
      return text.isEmpty ? [] : [text]
    case .slice(let offset, let length)?:
      let all = parameter.name == "@" || parameter.name == "*" ? [name] + arguments : found ?? []
      guard let from = try arithmetic(offset), from >= 0 else { return [unset(parameter, line)] }
      let rest = all.dropFirst(from)
      guard let length else { return Array(rest) }
      guard let count = try arithmetic(length), count >= 0 else { return [unset(parameter, line)] }
      return Array(rest.prefix(count))
    default:
      guard let found else {
        return parameter.key == nil || missing == nil && variables[parameter.name] != nil
          ? [] : [unset(parameter, line)]
      }
      if let variable = variables[parameter.name], variable.kind == .map {
        return try inOrder(found, parameter, line)
      }
      guard parameter.operation != nil else { return found }
      var result: [String] = []
      for item in found { result.append(try changed(item, parameter, line)) }
      return result
    }
  }

  /// The order of a map is bash's own.
  private func inOrder(_ texts: [String], _ parameter: ShellParameter, _ line: Int) throws(ShellError)
    -> [String]
  {
    if texts.count > 1 { throw .unknown(line, "\(parameter.written) is in an order of bash's own") }
    return texts
  }

  /// What `#`, `%`, `/`, `:` and `^` make of a text.
  private mutating func changed(_ text: String, _ parameter: ShellParameter, _ line: Int) throws(ShellError)
    -> String
  {
    guard let operation = parameter.operation else { return text }
    let open = ShellUnknown.text(line, parameter.written)
    if ShellUnknown.isIn(text) { return open }
    switch operation {
    case .substitute: return text
    case .changeCase(let symbol):
      let (rest, first) = (text.dropFirst(), text.prefix(1))
      switch symbol {
      case "^^": return text.uppercased()
      case ",,": return text.lowercased()
      case "^": return first.uppercased() + rest
      default: return first.lowercased() + rest
      }
    case .slice(let offset, let length):
      guard var from = try arithmetic(offset) else { return open }
      if from < 0 { from += text.count }
      guard from >= 0, from <= text.count else { return "" }
      let rest = text.dropFirst(from)
      guard let length else { return String(rest) }
      guard let count = try arithmetic(length) else { return open }
      return String(count < 0 ? rest.dropLast(-count) : rest.prefix(count))
    case .trim(let symbol, let word):
      let pattern = try pattern(word)
      if ShellUnknown.isIn(pattern) { return open }
      try record.spend(text.utf8.count * (pattern.utf8.count + 1), line)
      return try ShellPattern(pattern, line).trimmed(text, symbol)
    case .replace(let symbol, let word, let replacement):
      let (pattern, new) = (try pattern(word), try self.text(replacement))
      if ShellUnknown.isIn(pattern) { return open }
      try record.spend(text.utf8.count * (pattern.utf8.count + 1), line)
      let result = try ShellPattern(pattern, line).replaced(text, symbol, with: new)
      try record.spend(result.utf8.count, line)
      return result
    }
  }

  // MARK: Words

  private func tilde(_ text: String, _ line: Int) -> String {
    guard text == "~" || text.hasPrefix("~/") else {
      return text.hasPrefix("~") ? ShellUnknown.text(line, text) : text
    }
    return (variables["HOME"]?.elements.first ?? ShellUnknown.text(line, "~")) + text.dropFirst()
  }

  private static func isGlob(_ text: String) -> Bool {
    guard !ShellUnknown.isIn(text) else { return false }
    let bytes = text.utf8
    return bytes.contains { $0 == UInt8(ascii: "*") || $0 == UInt8(ascii: "?") }
      || bytes.firstIndex(of: UInt8(ascii: "[")).map { bytes[$0...].contains(UInt8(ascii: "]")) } == true
  }

  /// What fields end at: `$IFS`.
  var separators: String {
    variables["IFS"].map { $0.elements.joined() } ?? " \t\n"
  }

  /// `{1..4}`; other brace expansions are refused.
  private func braces(_ word: ShellWord) throws(ShellError) -> [String]? {
    for case .literal(let text, isQuoted: false) in word.parts {
      guard let open = text.firstIndex(of: "{"), let close = text[open...].lastIndex(of: "}") else {
        continue
      }
      let inside = text[open..<close]
      guard inside.contains(",") || inside.contains("..") else { continue }
      let ends = inside.dropFirst().split(separator: ".").map { Int($0) }
      guard word.plain == "{\(inside.dropFirst())}", ends.count == 2, let first = ends[0], let last = ends[1],
        first <= last, last - first < 10_000, !inside.dropFirst().hasPrefix("0") || first == 0
      else { throw .syntax(word.line, "the braces of \(text) aren't followed") }
      return (first...last).map(String.init)
    }
    return nil
  }
}

extension ShellList {
  /// The file of `$(<file)`.
  fileprivate var onlyFile: ShellWord? {
    guard pipelines.count == 1, pipelines[0].statements.count == 1,
      case .simple(let assignments, let words) = pipelines[0].statements[0].command, assignments.isEmpty,
      words.isEmpty,
      let redirection = pipelines[0].statements[0].redirections.first, redirection.kind == .input
    else { return nil }
    return redirection.target
  }
}
