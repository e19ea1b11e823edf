import Bytes
import Glibc

/// `[[ … ]]`, `[ … ]` and `test` (bash(1), "CONDITIONAL EXPRESSIONS"). `nil` is known only in the run.
extension Shell {
  mutating func arithmetic(_ word: ShellWord) throws(ShellError) -> Int? {
    try ShellArithmetic.value(try text(word), &self, word.line)
  }

  mutating func holds(_ condition: ShellCondition) throws(ShellError) -> Bool? {
    switch condition {
    case .not(let inner): return try holds(inner).map { !$0 }
    case .and(let left, let right):
      let first = try holds(left)
      if first == false { return false }
      let second = try holds(right)
      return second == false ? false : first.flatMap { _ in second }
    case .or(let left, let right):
      let first = try holds(left)
      if first == true { return true }
      let second = try holds(right)
      return second == true ? true : first.flatMap { _ in second }
    case .unary(let flag, let word): return try holds(flag, try text(word), word.line)
    case .binary(let left, let symbol, let right):
      let text = try text(left)
      switch symbol {
      case "==", "=", "!=":
        let pattern = try pattern(right)
        if ShellUnknown.isIn(text) || ShellUnknown.isIn(pattern) { return nil }
        try record.spend(text.utf8.count, left.line)
        return try ShellPattern(pattern, left.line).matches(text) == (symbol != "!=")
      case "-eq", "-ne", "-lt", "-le", "-gt", "-ge":
        guard let first = try ShellArithmetic.value(text, &self, left.line),
          let second = try arithmetic(right)
        else {
          return nil
        }
        return Self.compare(first, symbol, second)
      default: return try holds(text, symbol, try self.text(right), left.line)
      }
    }
  }

  /// `-n text` and its like.
  private mutating func holds(_ flag: String, _ text: String, _ line: Int) throws(ShellError) -> Bool? {
    switch flag {
    case "-n", "-z":
      // A text with more than its open part isn't empty.
      let isOpen = ShellUnknown.isIn(text)
      if isOpen,
        text.split(separator: ShellUnknown.mark, omittingEmptySubsequences: false).enumerated()
          .allSatisfy({ $0.offset % 2 == 1 || $0.element.isEmpty })
      {
        return nil
      }
      return text.isEmpty == (flag == "-z")
    case "-v":
      return try elements(text, nil, line) != nil ? true : nil
    case "-e", "-f", "-d", "-r", "-s", "-x", "-L", "-h", "-w":
      if text.isEmpty { return false }
      return !ShellUnknown.isIn(text) && exists(text) && flag != "-x" && flag != "-w"
        ? files.is(flag, path(text) ?? text) : nil
    case "-t", "-p", "-o", "-a", "-O", "-G", "-N", "-S", "-b", "-c", "-g", "-k", "-u": return nil
    default: throw .syntax(line, "the test '\(ShellUnknown.asWritten(flag))' isn't followed")
    }
  }

  private func holds(_ left: String, _ symbol: String, _ right: String, _ line: Int) throws(ShellError)
    -> Bool?
  {
    let isOpen = ShellUnknown.isIn(left) || ShellUnknown.isIn(right)
    switch symbol {
    case "=", "==": return isOpen ? nil : left == right
    case "!=": return isOpen ? nil : left != right
    case "-eq", "-ne", "-lt", "-le", "-gt", "-ge":
      if isOpen { return nil }
      guard let first = Int(left.filter { $0 != " " }), let second = Int(right.filter { $0 != " " }) else {
        throw .syntax(line, "a number is compared with what is none")
      }
      return Self.compare(first, symbol, second)
    case "<", ">":
      // Other texts are ordered by the locale.
      guard isOpen || (left + right).allSatisfy({ $0.isASCII && $0.isNumber }) else {
        throw .syntax(line, "an order of texts isn't followed")
      }
      return isOpen ? nil : symbol == "<" ? left < right : left > right
    case "-nt", "-ot", "-ef": return nil
    default: throw .syntax(line, "the comparison '\(ShellUnknown.asWritten(symbol))' isn't followed")
    }
  }

  private static func compare(_ left: Int, _ symbol: String, _ right: Int) -> Bool {
    switch symbol {
    case "-eq": left == right
    case "-ne": left != right
    case "-lt": left < right
    case "-le": left <= right
    case "-gt": left > right
    default: left >= right
    }
  }

  /// `[ … ]` and `test …`: POSIX.1-2024, test, by the number of arguments; `-a` and `-o` between.
  mutating func test(_ words: [String], _ line: Int) throws(ShellError) -> Bool? {
    for (joint, decides) in [("-o", true), ("-a", false)] where words.count > 4 {
      guard let place = words[1...].firstIndex(of: joint) else { continue }
      let first = try test(Array(words[..<place]), line)
      let second = try test(Array(words[(place + 1)...]), line)
      if first == decides || second == decides { return decides }
      return first == nil || second == nil ? nil : !decides
    }
    switch words.count {
    case 0: return false
    case 1: return try holds("-n", words[0], line)
    case _
    where words[0] == "!" && words.count != 3
      || words.count == 3 && words[0] == "!" && !Self.isBinary(words[1]):
      return try test(Array(words.dropFirst()), line).map { !$0 }
    case 2:
      // An open word without quotes may be none or several.
      return try holds(words[0], words[1], line)
    case 3: return try holds(words[0], words[1], words[2], line)
    default: throw .syntax(line, "this test isn't followed")
    }
  }

  private static func isBinary(_ word: String) -> Bool {
    ["=", "==", "!=", "-eq", "-ne", "-lt", "-le", "-gt", "-ge", "-nt", "-ot", "-ef"].contains(word)
  }
}
