import Bytes

/// One argument of MDS's parser: a line of `MegatronArgumentTable`.
struct MegatronArgument: Sendable {
  enum Kind: String, Sendable { case int, float, string, bool, on, off }
  /// How many words the flag takes (argparse's nargs and action).
  enum Arity: String, Sendable {
    case one = ""
    case any = "*"
    case some = "+"
    case appending = "+="
  }

  /// The attribute of the Namespace.
  let dest: String
  let kind: Kind
  let arity: Arity
  let initial: ArgumentValue
  let flags: [String]
  let choices: [String]

  /// In the order of the Namespace.
  static let all: [MegatronArgument] = MegatronArgumentTable.text.split(separator: "\n").map(
    MegatronArgument.init(line:))
  static let byDest = Dictionary(uniqueKeysWithValues: all.map { ($0.dest, $0) })
  static let byFlag = Dictionary(
    uniqueKeysWithValues: all.flatMap { argument in argument.flags.map { ($0, argument) } })

  /// Parses a line of the table.
  private init(line: Substring) {
    let columns = line.split(separator: "|", omittingEmptySubsequences: false).map(MegatronArgument.trimmed)
    func column(_ index: Int) -> Substring { index < columns.count ? columns[index] : "" }
    let name = column(1).prefix { $0.isLetter }
    guard let kind = Kind(rawValue: String(name)),
      let arity = Arity(rawValue: String(column(1).dropFirst(name.count)))
    else { preconditionFailure("MegatronArgumentTable: \(line)") }
    dest = String(column(0))
    self.kind = kind
    self.arity = arity
    switch (kind, column(2)) {
    case (.on, ""): initial = .bool(false)
    case (.off, ""): initial = .bool(true)
    case (_, ""): initial = .none
    case (_, let literal):
      guard let value = ArgumentValue(pythonLiteral: literal) else {
        preconditionFailure("MegatronArgumentTable: \(line)")
      }
      initial = value
    }
    let given = column(3).split(separator: " ").map(String.init)
    flags = given.isEmpty ? ["--" + String(dest.map { $0 == "_" ? "-" : $0 })] : given
    choices = column(4).split(separator: " ").map(String.init)
  }

  /// What argparse stores for one word of the command line.
  func value(of word: String, flag: String) throws(MegatronArgumentError) -> ArgumentValue {
    let value: ArgumentValue? =
      switch kind {
      case .int: ArgumentValue.int(python: word).map { .int($0) }
      case .float: ArgumentValue.float(python: word).map { .float($0) }
      case .string: .string(word)
      case .bool: .bool(!word.isEmpty)
      case .on, .off: nil
      }
    guard let value, choices.isEmpty || choices.contains(word) else {
      throw .malformed(flag: flag, value: word, expected: expectation)
    }
    return value
  }

  /// What a log prints for this attribute (megatron/arguments.py: _print_args, Python's `str`).
  func value(printed text: String) throws(MegatronArgumentError) -> ArgumentValue {
    if kind == .string, arity == .one { return text == "None" ? .none : .string(text) }
    guard let value = ArgumentValue(pythonLiteral: text) else {
      throw .malformed(flag: dest, value: text, expected: expectation)
    }
    return value
  }

  var expectation: String {
    if !choices.isEmpty { return "one of " + choices.joined(separator: ", ") }
    return switch kind {
    case .int: "an integer"
    case .float: "a number"
    case .string: "a text"
    case .bool: "True or False"
    case .on, .off: "no value"
    }
  }

  private static func trimmed(_ text: Substring) -> Substring {
    var text = text.drop { $0 == " " }
    while text.last == " " { text.removeLast() }
    return text
  }
}

/// What is wrong with a command line of MDS.
package enum MegatronArgumentError: Failure, Equatable {
  case malformed(flag: String, value: String, expected: String)
  case missingValue(flag: String, expected: String)
  /// Words of which a part is known only in the run.
  case unresolved([Open])
  case removed(flag: String, instead: String)
  case required(flags: [String])
  case conflict(String)

  package struct Open: Equatable, Sendable {
    let flag: String
    let written: String
    /// 0 where it is the environment's.
    let line: Int
  }

  static func open(_ flag: String, _ word: String) -> [Open] {
    ShellUnknown.parts(of: word).map { Open(flag: flag, written: $0.written, line: $0.line) }
  }

  package var exitStatus: ExitStatus {
    switch self {
    case .malformed, .missingValue, .unresolved, .removed, .required, .conflict: .run
    }
  }

  package var description: String {
    switch self {
    case .malformed(let flag, let value, let expected):
      "Megatron-DeepSpeed arguments: \(flag) has the value '\(value)', but needs \(expected)"
    case .missingValue(let flag, let expected):
      "Megatron-DeepSpeed arguments: \(flag) has no value, but needs \(expected)"
    case .unresolved(let open):
      "--train-args: known only where the run is: "
        + open.prefix(8).map { "\($0.flag) has \($0.written.prefix(80)) (line \($0.line))" }
        .joined(separator: ", ") + (open.count > 8 ? " and \(open.count - 8) more" : "")
        + ". Set variables for zerofs as the run has them (NAME=value zerofs …), or give the command line as the run prints it, or "
        + "its log."
    case .removed(let flag, let instead):
      "Megatron-DeepSpeed arguments: \(flag) is no longer valid; use \(instead)"
    case .required(let flags):
      "Megatron-DeepSpeed arguments: \(flags.joined(separator: " or ")) is needed"
    case .conflict(let what):
      "Megatron-DeepSpeed arguments: \(what)"
    }
  }
}
