import Bytes

extension Shell {
  /// bash's own commands.
  ///
  /// - Returns: whether it is one.
  mutating func builtin(_ words: [String], _ line: Int) throws(ShellError) -> Bool {
    let rest = Array(words.dropFirst())
    switch words[0] {
    case ":", "true", "trap", "ulimit", "umask", "shopt", "alias", "unalias", "hash", "wait", "bind",
      "enable":
      status = 0
    case "false": status = 1
    case "echo": try echo(rest, line)
    case "printf": try printf(rest, line)
    case "[":
      guard rest.last == "]" else { throw .syntax(line, "'[' has no ']'") }
      status = try test(Array(rest.dropLast()), line).map { $0 ? 0 : 1 }
    case "test": status = try test(rest, line).map { $0 ? 0 : 1 }
    case "let":
      var value: Int? = 0
      for word in rest { value = try ShellArithmetic.value(word, &self, line) }
      status = value.map { $0 == 0 ? 1 : 0 }
    case "eval":
      try enter(line)
      try run(ShellParser.parse(rest.joined(separator: " "), line: line))
      calls -= 1
    case "source", ".": try source(rest, line)
    case "exit": try leave(.end, rest, line)
    case "return": try leave(.back, rest, line)
    case "break", "continue":
      levels = Int(rest.first ?? "1") ?? 1
      flow = words[0] == "break" ? .leave : .next
    case "exec" where rest.isEmpty: status = 0
    case "shift": shift(rest, line)
    case "set": try set(rest, line)
    case "unset": try unset(rest, line)
    case "cd", "pushd": changeDirectory(rest.last { !$0.hasPrefix("-") }, line)
    case "popd": directory = nil
    case "pwd":
      output += (directory ?? ShellUnknown.text(line, "$(pwd)")) + "\n"
      status = 0
    case "read": try read(rest, line)
    case "mapfile", "readarray": try readLines(rest, line)
    case "getopts":
      guard arguments.isEmpty else { throw .syntax(line, "getopts isn't followed") }
      record.hasNoArguments(line: line)
      status = 1
    case "type", "which", "jobs", "kill", "times", "dirs":
      output += ShellUnknown.text(line, "$(\(words.joined(separator: " ")))")
      status = nil
    case "command" where ["-v", "-V"].contains(rest.first):
      output += ShellUnknown.text(line, "$(\(words.joined(separator: " ")))")
      status = nil
    default: return false
    }
    return true
  }

  private mutating func leave(_ how: Flow, _ words: [String], _ line: Int) throws(ShellError) {
    if let word = words.first { status = Int(word) }
    flow = how
  }

  private mutating func shift(_ words: [String], _ line: Int) {
    let count = words.first.map { Int($0) ?? 0 } ?? 1
    status = count <= arguments.count ? 0 : 1
    if count <= arguments.count { arguments.removeFirst(count) }
  }

  private mutating func set(_ words: [String], _ line: Int) throws(ShellError) {
    status = 0
    var rest = words[...]
    while let word = rest.first, word.hasPrefix("-") || word.hasPrefix("+") {
      rest.removeFirst()
      if word == "--" {
        arguments = Array(rest)
        return
      }
      let isOn = word.hasPrefix("-")
      if word.contains("e") { endsAtErrors = isOn }
      if word.contains("a") { exportsAll = isOn }
      if word.contains("n") { throw .syntax(line, "set -n isn't followed") }
      if word.hasSuffix("o"), let name = rest.popFirst() {
        if name == "errexit" { endsAtErrors = isOn }
        if name == "allexport" { exportsAll = isOn }
      }
    }
    if !rest.isEmpty { arguments = Array(rest) }
  }

  private mutating func unset(_ words: [String], _ line: Int) throws(ShellError) {
    status = 0
    for word in words where !word.hasPrefix("-") {
      if word.contains("[") { throw .syntax(line, "unset of an item isn't followed") }
      functions[word] = words.contains("-f") ? nil : functions[word]
      // It is empty from here on, whatever the run has.
      if !words.contains("-f") { variables[word] = ShellVariable(kind: .array) }
    }
  }

  private mutating func changeDirectory(_ name: String?, _ line: Int) {
    status = 0
    guard let name else {
      directory = variables["HOME"]?.elements.first
      return
    }
    guard !ShellUnknown.isIn(name), name != "-" else {
      directory = nil
      return
    }
    directory = name == "." ? directory : path(name).map { Self.normalized($0) }
  }

  /// Without `.` and `..`.
  static func normalized(_ path: String) -> String {
    var parts: [Substring] = []
    for part in path.split(separator: "/") where part != "." {
      if part == ".." { _ = parts.popLast() } else { parts.append(part) }
    }
    return (path.hasPrefix("/") ? "/" : "") + parts.joined(separator: "/")
  }

  // MARK: Files that are read in

  /// Scripts that set up Python, compilers or the module system, and no variable of the run.
  private static let environments = [
    "/bin/activate", "/etc/profile.d/conda.sh", "/etc/profile", "/etc/bashrc", "/etc/bash.bashrc",
    "/setvars.sh",
    "/init/bash", "/init/sh", "/init/profile", "/lmod.sh", "/modules.sh",
  ]

  private mutating func source(_ words: [String], _ line: Int) throws(ShellError) {
    guard let name = words.first else { throw .syntax(line, "source has no file") }
    try enter(line)
    defer { calls -= 1 }
    status = 0
    let shown = ShellUnknown.asWritten(name)
    guard let text = try contents(name, line) else {
      if Self.environments.contains(where: { shown.hasSuffix($0) }) || shown == "activate" {
        record.passes(shown, line: line)
      } else {
        forget(because: shown, line)
      }
      return
    }
    let outer = (file, arguments)
    file = name
    if words.count > 1 { arguments = Array(words.dropFirst()) }
    try run(ShellParser.parse(text))
    file = outer.0
    if words.count > 1 { arguments = outer.1 }
    if flow == .back { flow = .normal }
  }

  // MARK: Input

  /// The next line of the input; `nil` where there is none, or where it isn't known.
  private mutating func nextLine() -> String? {
    guard let text = input, !text.isEmpty, !ShellUnknown.isIn(text) else { return nil }
    let end = text.firstIndex(of: "\n") ?? text.endIndex
    input = end < text.endIndex ? String(text[text.index(after: end)...]) : ""
    return String(text[..<end])
  }

  private mutating func read(_ words: [String], _ line: Int) throws(ShellError) {
    var names: [String] = []
    var isArray = false
    var rest = words[...]
    while let word = rest.popFirst() {
      if word.hasPrefix("-") {
        if word.contains(where: { !"ra".contains($0) && $0 != "-" }) {
          throw .syntax(line, "read \(word) isn't followed")
        }
        isArray = isArray || word.contains("a")
      } else {
        names.append(word)
      }
    }
    if names.isEmpty { names = ["REPLY"] }
    let isOpen = input == nil || input.map(ShellUnknown.isIn) == true
    let text = nextLine()
    guard let text else {
      for name in names {
        if isOpen { variables[name] = Self.open(name, nil, line) } else { try assign(name, "", line) }
      }
      status = isOpen ? nil : 1
      return
    }
    try record.spend(text.utf8.count, line)
    status = 0
    let separators = variables["IFS"].map { $0.elements.joined() } ?? " \t\n"
    if isArray, let name = names.first {
      var fields = ShellFields(separators: separators)
      fields.split(text)
      variables[name] = ShellVariable(kind: .array, elements: fields.finished.map(\.text))
      return
    }
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

  private mutating func readLines(_ words: [String], _ line: Int) throws(ShellError) {
    guard let name = words.last, !name.hasPrefix("-"), words.dropLast().allSatisfy({ $0 == "-t" }) else {
      throw .syntax(line, "\(words.joined(separator: " ")) isn't followed")
    }
    guard let input, !ShellUnknown.isIn(input) else {
      variables[name] = Self.open(name, ShellVariable(kind: .array), line)
      status = 0
      return
    }
    var lines: [String] = []
    while let text = nextLine() { lines.append(text + (words.contains("-t") ? "" : "\n")) }
    _ = input
    variables[name] = ShellVariable(kind: .array, elements: lines)
    status = 0
  }

  // MARK: Output

  private mutating func echo(_ words: [String], _ line: Int) throws(ShellError) {
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

  private mutating func printf(_ words: [String], _ line: Int) throws(ShellError) {
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
