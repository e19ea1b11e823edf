import Bytes

/// bash, as far as it decides which command a script starts, and with values that aren't known.
///
/// A script is evaluated, not run: nothing is started or written, and only files below the script's own folder and the working
/// directory are read. What only the run knows (a variable that nobody sets, the output of a program) is an open part of a text
/// (`ShellUnknown`). Where such a part decides a branch, both are followed, and what they leave different is open from there on.
/// What isn't in bash's language as `ShellParser` knows it is refused with its line.
struct Shell {
  enum Flow: Equatable { case normal, leave, next, back, end }

  var variables: [String: ShellVariable] = [:]
  var functions: [String: ShellFunction] = [:]
  /// `$1`, `$2`, …
  var arguments: [String] = []
  /// `$0`, and the file that is being read.
  var name: String
  var file: String
  /// `nil` behind a `cd` to where only the run can go.
  var directory: String?
  /// Texts that the script itself wrote, by path.
  var written: [String: String] = [:]
  /// What `local` hides, of each function that is being called.
  var hidden: [[String: ShellVariable?]] = []
  var flow = Flow.normal
  /// Loops that `break` or `continue` still has to leave.
  var levels = 0
  var output = ""
  /// `nil` is a terminal.
  var input: String?
  /// `nil` isn't known.
  var status: Int? = 0
  var endsAtErrors = false
  var exportsAll = false
  var isCondition = false
  /// The first sourced file that isn't here, which may have set anything.
  var missing: String?
  var calls = 0
  let files: ShellFiles
  let record: ShellRecord

  static let maxCalls = 60
  /// Differ from machine to machine, or from run to run.
  static let volatile: Set<String> = [
    "HOSTNAME", "RANDOM", "SRANDOM", "SECONDS", "EPOCHSECONDS", "EPOCHREALTIME", "UID", "EUID", "PPID",
    "BASHPID",
    "OSTYPE", "HOSTTYPE", "MACHTYPE", "OLDPWD", "SHLVL", "_", "$", "!", "-", "PIPESTATUS", "FUNCNAME",
    "BASH_LINENO",
    "BASH_VERSION", "BASH_COMMAND", "BASH_REMATCH", "SHELLOPTS", "BASHOPTS", "COLUMNS", "LINES",
  ]

  init(name: String, environment: [String: String], files: ShellFiles, record: ShellRecord) {
    self.name = name
    file = name
    self.files = files
    self.record = record
    directory = files.directory
    for (key, value) in environment where !Self.volatile.contains(key) && key != "PWD" && key != "IFS" {
      variables[key] = ShellVariable(value.filter { $0 != ShellUnknown.mark }, isExported: true)
    }
  }

  // MARK: Lists

  mutating func run(_ list: ShellList) throws(ShellError) {
    let outer = isCondition
    defer { isCondition = outer }
    for (index, pipeline) in list.pipelines.enumerated() {
      guard flow == .normal else { return }
      // `set -e` looks only at the last of `a && b || c`, and at nothing behind `!`.
      let isLast = index + 1 == list.pipelines.count || list.pipelines[index + 1].connector == .next
      isCondition = outer || !isLast || pipeline.isNegated
      switch (pipeline.connector, status) {
      case (.and, 0?), (.next, _): try run(pipeline)
      case (.and, _?), (.or, 0?): break
      case (.or, _?): try run(pipeline)
      case (.and, nil), (.or, nil):
        let line = pipeline.statements.first?.line ?? 0
        let skipped = pipeline.connector == .and ? 1 : 0
        try either(
          line,
          { shell throws(ShellError) in
            shell.status = 1 - skipped
            try shell.run(pipeline)
          }, { shell throws(ShellError) in shell.status = skipped })
      }
    }
  }

  private mutating func run(_ pipeline: ShellPipeline) throws(ShellError) {
    if pipeline.statements.count == 1 {
      try run(pipeline.statements[0])
    } else {
      var passing = input
      for (index, statement) in pipeline.statements.enumerated() {
        let isLast = index == pipeline.statements.count - 1
        let result = try subshell { shell throws(ShellError) in
          shell.input = passing
          if !isLast { shell.output = "" }
          try shell.run(statement)
        }
        if isLast { output = result.output } else { passing = result.output }
        status = result.status
      }
    }
    if pipeline.isNegated { status = status.map { $0 == 0 ? 1 : 0 } }
  }

  mutating func run(_ statement: ShellStatement) throws(ShellError) {
    try record.step(statement.line)
    if statement.redirections.isEmpty {
      try run(statement.command, line: statement.line)
    } else {
      try redirected(statement) { shell throws(ShellError) in
        try shell.run(statement.command, line: statement.line)
      }
    }
    if endsAtErrors, !isCondition, flow == .normal, let status, status != 0, statement.command.endsAtErrors {
      flow = .end
    }
  }

  // MARK: Commands

  private mutating func run(_ command: ShellCommand, line: Int) throws(ShellError) {
    switch command {
    case .simple(let assignments, let words): try simple(assignments, words, line)
    case .group(let list): try run(list)
    case .subshell(let list):
      let result = try subshell { shell throws(ShellError) in try shell.run(list) }
      (output, status) = (result.output, result.status)
    case .branches(let branches, let otherwise): try run(branches[...], otherwise, line)
    case .each(let name, let words, let body): try each(name, words, body, line)
    case .counted(let first, let condition, let step, let body):
      _ = try arithmetic(first)
      try loop(
        line,
        { shell throws(ShellError) in
          condition.parts.isEmpty ? true : try shell.arithmetic(condition).map { $0 != 0 }
        },
        body: { shell throws(ShellError) in
          try shell.run(body)
          if shell.flow == .normal || shell.flow == .next && shell.levels == 1 {
            _ = try shell.arithmetic(step)
          }
        })
    case .loop(let condition, let isUntil, let body):
      try loop(
        line,
        { shell throws(ShellError) in
          try shell.check(condition)
          return shell.status.map { ($0 == 0) != isUntil }
        }, body: { shell throws(ShellError) in try shell.run(body) })
    case .select(let subject, let cases):
      try select(try text(subject), cases[...], line)
    case .function(let name, let body):
      functions[name] = ShellFunction(body: body, line: line, file: file)
      status = 0
    case .condition(let condition): status = try holds(condition).map { $0 ? 0 : 1 }
    case .arithmetic(let word): status = try arithmetic(word).map { $0 != 0 ? 0 : 1 }
    }
  }

  /// Runs what only decides: `set -e` doesn't end there.
  private mutating func check(_ condition: ShellList) throws(ShellError) {
    let outer = isCondition
    isCondition = true
    try run(condition)
    isCondition = outer
  }

  private mutating func run(
    _ branches: ArraySlice<(condition: ShellList, body: ShellList)>, _ otherwise: ShellList, _ line: Int
  ) throws(ShellError) {
    guard let branch = branches.first else {
      status = 0
      return try run(otherwise)
    }
    try check(branch.condition)
    guard flow == .normal else { return }
    switch status {
    case 0?: try run(branch.body)
    case _?: try run(branches.dropFirst(), otherwise, line)
    case nil:
      try either(
        line,
        { shell throws(ShellError) in
          shell.status = 0
          try shell.run(branch.body)
        }, { shell throws(ShellError) in try shell.run(branches.dropFirst(), otherwise, line) })
    }
  }

  private mutating func select(_ subject: String, _ cases: ArraySlice<ShellCase>, _ line: Int)
    throws(ShellError)
  {
    guard let first = cases.first else {
      status = 0
      return
    }
    var matches: Bool? = false
    for pattern in first.patterns where matches != true {
      let pattern = try self.pattern(pattern)
      if pattern == "*" {
        matches = true
      } else if ShellUnknown.isIn(pattern) || ShellUnknown.isIn(subject) {
        matches = nil
      } else if try ShellPattern(pattern, line).matches(subject) {
        matches = true
      }
    }
    switch matches {
    case true?: try run(first.body)
    case false?: try select(subject, cases.dropFirst(), line)
    case nil:
      try either(
        line, { shell throws(ShellError) in try shell.run(first.body) },
        { shell throws(ShellError) in
          try shell.select(subject, cases.dropFirst(), line)
        })
    }
  }

  /// Runs in a copy, of which only the output and the status remain.
  func subshell(_ body: (inout Shell) throws(ShellError) -> Void) throws(ShellError) -> (
    output: String, status: Int?
  ) {
    var inner = self
    try body(&inner)
    return (inner.output, inner.status)
  }
}

struct ShellFunction: Sendable {
  var body: ShellStatement
  var line: Int
  var file: String
}

extension ShellCommand {
  /// Whether `set -e` looks at the command itself, and not at those within.
  fileprivate var endsAtErrors: Bool {
    switch self {
    case .simple, .condition, .arithmetic, .subshell: true
    default: false
    }
  }
}
