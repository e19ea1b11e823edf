import Bytes
import Glibc

/// The program whose command line is looked for.
struct RunProgram: Sendable {
  let name: String
  /// Whether a word up to its `=` is one of the program's flags.
  let isFlag: @Sendable (String) -> Bool
  /// Flags of which every training has one, and other programs of the same arguments have none; or none.
  let training: Set<String>
}

/// What `--train-args` give: arguments, a script that starts the run, or the run's log.
struct RunText: Sendable {
  /// The words behind the program; empty for a log.
  private(set) var words: [String] = []
  /// The lines of the log's block of arguments.
  private(set) var log: MegatronLog?
  /// What the user should know about how the text was read.
  private(set) var notes: [String] = []

  /// - Parameters:
  ///   - text: the arguments, a script or a log; or the name of a file that holds one.
  ///   - environment: what `bash text` would find set.
  /// - Throws: `RunError.unreadable`, `.noCommand`, `.commands`, `.log`; `ShellError`.
  init(textOrFile text: String, _ program: RunProgram, environment: [String: String]? = nil) throws {
    let isFile = access(text, F_OK) == 0
    try self.init(
      isFile ? Self.contents(text) : text, file: isFile ? text : nil, program,
      environment: environment ?? Self.environment())
  }

  init(_ text: String, file: String? = nil, _ program: RunProgram, environment: [String: String] = [:]) throws
  {
    if let log = try MegatronLog(text) {
      self.log = log
      return
    }
    let text = ShellUnknown.isIn(text) ? text.filter { $0 != ShellUnknown.mark } : text
    guard text.utf8.count <= ShellFiles.maxFile else { throw RunError.noCommand(program.name, starts: []) }
    let files = ShellFiles(script: file)
    if Self.isArguments(text) {
      let shell = Shell(name: "zerofs", environment: environment, files: files, record: ShellRecord())
      words = try shell.arguments(text)
      return
    }
    if file == nil, !text.contains(where: \.isWhitespace) {
      throw RunError.unreadable(path: text, why: errnoMessage(ENOENT))
    }
    let reading = try Reading(text, file: file ?? "bash", files, environment: environment, open: [])
    words = try reading.words(of: program, &notes)
    notes += reading.notes(
      mattering: try reading.record.defaults.isEmpty
        ? []
        : Self.names(
          decidedBy: reading.record.defaults.map(\.name),
          Reading(
            text, file: file ?? "bash", files, environment: environment,
            open: reading.record.defaults.map(\.name)),
          program))
  }

  private static func contents(_ path: String) throws(RunError) -> String {
    do {
      return String(decoding: try SourceFile.contents(of: path), as: UTF8.self)
    } catch { throw .unreadable(path: path, why: error.reason) }
  }

  private static func environment() -> [String: String] {
    var result: [String: String] = [:]
    var pointer = environ
    while let entry = pointer.pointee {
      let text = String(cString: entry)
      if let equals = text.firstIndex(of: "=") {
        result[String(text[..<equals])] = String(text[text.index(after: equals)...])
      }
      pointer += 1
    }
    return result
  }

  /// Whether the text begins with a flag, comments aside.
  private static func isArguments(_ text: String) -> Bool {
    let lines = text.split(whereSeparator: \.isNewline).lazy.map { $0.drop { $0.isWhitespace } }
    guard let first = lines.first(where: { !$0.isEmpty && !$0.hasPrefix("#") }) else { return true }
    return first.hasPrefix("-") && !first.hasPrefix("---")
  }

  /// Of variables that nobody sets, those that change the command if somebody does; all if that can't be told.
  private static func names(
    decidedBy names: [String], _ reading: @autoclosure () throws -> Reading, _ program: RunProgram
  )
    -> Set<String>
  {
    var notes: [String] = []
    guard let words = try? reading().words(of: program, &notes) else { return Set(names) }
    let written = Set(words.flatMap { ShellUnknown.parts(of: $0).map(\.written) })
    let found = Set(names.filter { written.contains("$" + $0) })
    return written.count > found.count ? Set(names) : found
  }

  /// The text as one that needs nothing else to be read again: what an archive records.
  package var recorded: String {
    log?.text ?? words.map { ShellUnknown.asWritten($0).shellQuoted }.joined(separator: " ")
  }
}

extension String {
  /// As one word of a shell's command line.
  package var shellQuoted: String {
    let isPlain =
      !isEmpty && allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber) || "-_./:=,+@%".contains($0) }
    return isPlain
      ? self : "'" + split(separator: "'", omittingEmptySubsequences: false).joined(separator: "'\\''") + "'"
  }
}

/// A script, followed to what it starts.
private struct Reading {
  let record = ShellRecord()

  /// - Parameter open: variables that are taken as set to what isn't known.
  init(_ text: String, file: String, _ files: ShellFiles, environment: [String: String], open: [String])
    throws(ShellError)
  {
    var shell = Shell(name: file, environment: environment, files: files, record: record)
    for name in open {
      shell.variables[name] = ShellVariable(ShellUnknown.text(0, "$" + name), isExported: true)
    }
    try shell.run(ShellParser.parse(text))
  }

  /// The words behind the program of the one command that counts.
  func words(of program: RunProgram, _ notes: inout [String]) throws -> [String] {
    var found: [ShellLaunch] = []
    for launch in record.launches {
      let words = Self.behindProgram(launch.words, program)
      guard words.contains(where: { program.isFlag(Self.flag($0)) }) else { continue }
      if let broken = launch.words.first, broken.hasPrefix("-") {
        throw ShellError.syntax(
          launch.line,
          "\(broken) begins a command of its own here, because the line before doesn't continue (a comment between?)"
        )
      }
      if !found.contains(where: { $0.words == words }) {
        found.append(ShellLaunch(words: words, line: launch.line))
      }
    }
    let trainings = found.filter { $0.words.contains { program.training.contains(Self.flag($0)) } }
    let counting = trainings.isEmpty ? found : trainings
    guard let only = counting.first else {
      throw RunError.noCommand(
        program.name, starts: record.launches.prefix(5).map { "\(Self.shown($0)) (line \($0.line))" })
    }
    guard counting.count == 1 else {
      throw RunError.commands(program.name, lines: Array(Set(counting.map(\.line))).sorted())
    }
    if found.count > 1 {
      notes.append(
        "the command of line \(only.line) is the run's, of \(found.count) with arguments of \(program.name)")
    }
    return only.words
  }

  private static func flag(_ word: String) -> String { String(word.prefix { $0 != "=" }) }

  private static func shown(_ launch: ShellLaunch) -> String {
    String(ShellUnknown.asWritten(launch.words.prefix(3).joined(separator: " ")).prefix(60))
  }

  /// The words behind the last `.py` before which no flag of the program stands, or behind `-m module`.
  private static func behindProgram(_ words: [String], _ program: RunProgram) -> [String] {
    var start = 0
    for (index, word) in words.enumerated() {
      let isModule = index > 0 && words[index - 1] == "-m" && !word.hasPrefix("-")
      guard word.hasSuffix(".py") || isModule else { continue }
      if words[start..<index].contains(where: { program.isFlag(flag($0)) }) { break }
      start = index + 1
    }
    return Array(words[start...])
  }

  func notes(mattering: Set<String>) -> [String] {
    var notes: [String] = []
    let defaults = record.defaults.filter { mattering.contains($0.name) }.map {
      "\($0.name) (line \($0.line))"
    }
    if !defaults.isEmpty {
      notes.append(
        "the script's defaults are taken for \(defaults.joined(separator: ", ")). Where the run's environment has others, give "
          + "them to zerofs, too (NAME=value zerofs …)")
    }
    if !record.emptyArguments.isEmpty {
      notes.append(
        "the script is read as if started without arguments, which it uses on line "
          + "\(record.emptyArguments.sorted().prefix(5).map(String.init).joined(separator: ", ")). Give others as --train-args 'bash SCRIPT ARGUMENTS'"
      )
    }
    if !record.passed.isEmpty {
      let files = record.passed.map { "\($0.file) (line \($0.line))" }.joined(separator: ", ")
      notes.append("passed over as setting up software only: \(files)")
    }
    return notes
  }
}

extension Shell {
  /// Arguments alone, over any number of lines.
  func arguments(_ text: String) throws(ShellError) -> [String] {
    var shell = self
    var parser = ShellParser(part: Array(text.utf8.filter { $0 != 13 }), line: 1, depth: 0)
    var words: [String] = []
    while true {
      try parser.skipSeparators(newlines: true)
      guard parser.peek() != nil else { return words }
      words += try shell.fields(parser.word())
    }
  }
}
