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
    case "let": try compute(rest, line)
    case "eval": try evaluate(rest, line)
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
    case "pwd": printDirectory(line)
    case "read": try read(rest, line)
    case "mapfile", "readarray": try readLines(rest, line)
    case "getopts": try nextOption(line)
    case "command" where rest.first != "-v" && rest.first != "-V": return false
    case "type", "which", "jobs", "kill", "times", "dirs", "command":
      output += ShellUnknown.text(line, "$(\(words.joined(separator: " ")))")
      status = nil
    default: return false
    }
    return true
  }

  private mutating func compute(_ words: [String], _ line: Int) throws(ShellError) {
    var value: Int? = 0
    for word in words { value = try ShellArithmetic.value(word, &self, line) }
    status = value.map { $0 == 0 ? 1 : 0 }
  }

  private mutating func evaluate(_ words: [String], _ line: Int) throws(ShellError) {
    try enter(line)
    try run(ShellParser.parse(words.joined(separator: " "), line: line))
    calls -= 1
  }

  /// A run's script has no arguments of its own.
  private mutating func nextOption(_ line: Int) throws(ShellError) {
    guard arguments.isEmpty else { throw .syntax(line, "getopts isn't followed") }
    record.hasNoArguments(line: line)
    status = 1
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

  private mutating func printDirectory(_ line: Int) {
    output += (directory ?? ShellUnknown.text(line, "$(pwd)")) + "\n"
    status = 0
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
}
