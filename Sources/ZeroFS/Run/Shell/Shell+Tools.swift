import Bytes

/// Programs that scripts compute with. What they print is open where their input is, or where they are called in another way
/// than here.
extension Shell {
  /// - Returns: whether the program is one of these, and did what is known of it.
  mutating func tool(_ words: [String], _ line: Int) throws(ShellError) -> Bool {
    let rest = Array(words.dropFirst())
    let text: String?
    switch words[0] {
    case "mkdir", "sleep", "module", "ml", "date", "hostname", "nproc", "clear", "chmod", "touch", "conda":
      text = nil
    case "dirname", "basename", "realpath", "readlink", "seq", "expr":
      text = rest.contains(where: ShellUnknown.isIn) ? nil : try computed(words[0], rest, line)
    case "cat", "tee", "head", "tail", "wc", "tr", "cut", "grep", "sed", "awk", "sort", "uniq", "bc":
      text = try filtered(words[0], rest, line)
    default: return false
    }
    if let text {
      output += text
      status = 0
    } else {
      guard !["sed", "tee"].contains(words[0]) else { return false }
      output += ShellUnknown.text(line, "$(\(words.joined(separator: " ")))")
      status = nil
    }
    return true
  }

  private func computed(_ name: String, _ words: [String], _ line: Int) throws(ShellError) -> String? {
    switch name {
    case "dirname", "basename":
      guard let word = words.first, !word.hasPrefix("-"), words.count <= (name == "dirname" ? 1 : 2) else {
        return nil
      }
      var path = word[...]
      while path.count > 1, path.last == "/" { path.removeLast() }
      guard let slash = path.lastIndex(of: "/") else {
        return (name == "dirname" ? "." : Self.without(path, words)) + "\n"
      }
      if name == "dirname" { return (slash == path.startIndex ? "/" : String(path[..<slash])) + "\n" }
      return Self.without(path[path.index(after: slash)...], words) + "\n"
    case "realpath", "readlink":
      guard let word = words.last, words.count == 1 && name == "realpath" || words.dropLast() == ["-f"] else {
        return nil
      }
      return path(word).map { Self.normalized($0) + "\n" }
    case "seq":
      let numbers = words.map { Int($0) }
      guard (1...3).contains(words.count), numbers.allSatisfy({ $0 != nil }) else { return nil }
      let known = numbers.compactMap { $0 }
      let (first, step, last) = (
        known.count > 1 ? known[0] : 1, known.count > 2 ? known[1] : 1, known[known.count - 1]
      )
      guard step != 0 else { return nil }
      let (span, overflow) = last.subtractingReportingOverflow(first)
      guard !overflow, span.magnitude / step.magnitude <= ShellRecord.maxSteps else { throw .tooLong(line) }
      return stride(from: first, through: last, by: step).map { "\($0)\n" }.joined()
    default:
      guard words.count == 3, let first = Int(words[0]), let second = Int(words[2]) else { return nil }
      switch words[1] {
      case "+": return "\(first &+ second)\n"
      case "-": return "\(first &- second)\n"
      case "*": return "\(first &* second)\n"
      case "/" where second != 0: return "\(first / second)\n"
      case "%" where second != 0: return "\(first % second)\n"
      default: return nil
      }
    }
  }

  private static func without(_ name: Substring, _ words: [String]) -> String {
    guard words.count == 2, name.hasSuffix(words[1]), name != words[1] else { return String(name) }
    return String(name.dropLast(words[1].count))
  }

  private mutating func filtered(_ name: String, _ words: [String], _ line: Int) throws(ShellError) -> String?
  {
    let flags = words.filter { $0.hasPrefix("-") }
    var operands = words.filter { !$0.hasPrefix("-") }
    var text: String?
    switch name {
    case "tee":
      guard let input else { return nil }
      for file in operands {
        guard let path = path(file) else { continue }
        written[path] = (flags.isEmpty ? "" : written[path] ?? ShellUnknown.text(line, file)) + input
      }
      return input
    case "cat": text = try joined(operands, line)
    case "wc", "head", "tail":
      if let place = words.firstIndex(of: "-n"), words.indices.contains(place + 1) {
        operands.removeAll { $0 == words[place + 1] }
      }
      text = try joined(operands, line)
    default: return nil
    }
    guard let text, !ShellUnknown.isIn(text) else { return nil }
    let lines = text.split(separator: "\n", omittingEmptySubsequences: false).dropLast(
      text.hasSuffix("\n") ? 1 : 0)
    switch (name, flags) {
    case ("cat", []): return text
    case ("wc", ["-l"]):
      return "\(text.count { $0 == "\n" })" + (operands.first.map { " " + $0 } ?? "") + "\n"
    case ("head", _), ("tail", _):
      let digits =
        flags == ["-n"]
        ? words.first { Int($0) != nil && !$0.hasPrefix("-") }
        : flags.first.map { String($0.dropFirst($0.hasPrefix("-n") ? 2 : 1)) }
      guard let count = Int(digits ?? "10"), count >= 0, operands.count <= 1 else { return nil }
      let chosen = name == "head" ? lines.prefix(count) : lines.suffix(count)
      return chosen.map { $0 + "\n" }.joined()
    default: return nil
    }
  }

  /// What the files hold, or the input.
  private mutating func joined(_ names: [String], _ line: Int) throws(ShellError) -> String? {
    guard !names.isEmpty else {
      defer { if input != nil { input = "" } }
      return input
    }
    var text = ""
    for name in names where name != "-" {
      guard let piece = try contents(name, line) else { return nil }
      text += piece
    }
    return text
  }
}
