/// A script as bash parses it (POSIX.1-2024, Shell Command Language; bash(1), "Shell Grammar").
///
/// What isn't here is refused by `ShellParser` with its line.
struct ShellList: Sendable {
  var pipelines: [ShellPipeline] = []
}

/// `a | b`, and how it is joined to the one before it.
struct ShellPipeline: Sendable {
  enum Connector: Sendable { case next, and, or }
  var connector: Connector
  var isNegated: Bool
  var statements: [ShellStatement]
}

struct ShellStatement: Sendable {
  var command: ShellCommand
  var redirections: [ShellRedirection]
  var line: Int
}

indirect enum ShellCommand: Sendable {
  case simple(assignments: [ShellAssignment], words: [ShellItem])
  case group(ShellList)
  case subshell(ShellList)
  case branches([(condition: ShellList, body: ShellList)], otherwise: ShellList)
  /// `for name in words`; without words, over the arguments.
  case each(name: String, words: [ShellWord]?, body: ShellList)
  /// `for ((…; …; …))`.
  case counted(first: ShellWord, condition: ShellWord, step: ShellWord, body: ShellList)
  case loop(condition: ShellList, isUntil: Bool, body: ShellList)
  case select(ShellWord, [ShellCase])
  case function(name: String, body: ShellStatement)
  /// `[[ … ]]`.
  case condition(ShellCondition)
  /// `(( … ))`.
  case arithmetic(ShellWord)
}

struct ShellCase: Sendable {
  var patterns: [ShellWord]
  var body: ShellList
}

/// A word of a command, or an assignment behind `export`, `local` and their like.
enum ShellItem: Sendable {
  case word(ShellWord)
  case assignment(ShellAssignment)
}

struct ShellAssignment: Sendable {
  enum Value: Sendable {
    case word(ShellWord)
    case array([(key: ShellWord?, value: ShellWord)])
  }
  var name: String
  var key: ShellWord?
  var appends: Bool
  var value: Value
}

struct ShellRedirection: Sendable {
  enum Kind: Sendable { case input, output, append, text, duplicate }
  var kind: Kind
  var descriptor: Int
  /// The file; of `<<` and `<<<` the text itself.
  var target: ShellWord
}

struct ShellWord: Sendable {
  var parts: [ShellPart]
  var line: Int

  /// The text of a word without expansions; `nil` of others and of quoted ones.
  var plain: String? {
    var text = ""
    for part in parts {
      guard case .literal(let piece, isQuoted: false) = part else { return nil }
      text += piece
    }
    return text
  }
}

enum ShellPart: Sendable {
  case literal(String, isQuoted: Bool)
  case parameter(ShellParameter, isQuoted: Bool)
  case substitution(ShellList, written: String, isQuoted: Bool)
  case arithmetic(ShellWord, written: String, isQuoted: Bool)
  /// `<( … )`: a file that only a run has.
  case process(written: String)
}

/// `$name`, `${name[key]operation}`.
struct ShellParameter: Sendable {
  enum Operation: Sendable {
    /// `:-`, `-`, `:=`, `=`, `:+`, `+`, `:?`, `?`.
    case substitute(String, ShellWord)
    /// `#`, `##`, `%`, `%%`.
    case trim(String, ShellWord)
    /// `/`, `//`, `/#`, `/%`.
    case replace(String, ShellWord, ShellWord)
    case slice(ShellWord, ShellWord?)
    /// `^`, `^^`, `,`, `,,`.
    case changeCase(String)
  }
  var name: String
  var key: ShellWord?
  var isLength = false
  var isIndirect = false
  /// `${!name[@]}`.
  var isKeys = false
  var operation: Operation?
  var written: String

  /// `$@`, `$*` or all items of an array.
  var isList: Bool { name == "@" || name == "*" || ["@", "*"].contains(key?.plain) }
  var joins: Bool { name == "*" || key?.plain == "*" }
}

indirect enum ShellCondition: Sendable {
  case not(ShellCondition)
  case and(ShellCondition, ShellCondition)
  case or(ShellCondition, ShellCondition)
  case unary(String, ShellWord)
  case binary(ShellWord, String, ShellWord)
}

/// The parts of a word as they are read: plain bytes are gathered until another part follows.
struct ShellPieces {
  let isQuoted: Bool
  private(set) var parts: [ShellPart] = []
  private var literal: [UInt8] = []

  init(isQuoted: Bool) { self.isQuoted = isQuoted }

  mutating func append(byte: UInt8) { literal.append(byte) }

  mutating func append(_ part: ShellPart) {
    flush()
    parts.append(part)
  }

  /// Ends the literal that is being gathered.
  mutating func flush() {
    guard !literal.isEmpty else { return }
    parts.append(.literal(String(decoding: literal, as: UTF8.self), isQuoted: isQuoted))
    literal = []
  }
}
