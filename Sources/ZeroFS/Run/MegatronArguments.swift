/// The arguments of an MDS run: the attributes of its `args` Namespace in MDS's order, with their values.
///
/// `init()` is what the parser holds when nothing is given; `init(commandLine:)` what it holds for a user's
/// command line; `completed(for:)` adds what MDS derives before it saves.
package struct MegatronArguments: Equatable, Sendable {
  /// The attributes, in order.
  package private(set) var names: [String]
  private var values: [String: ArgumentValue]
  /// The attributes that the command line or log sets.
  package private(set) var given: Set<String> = []
  /// What a command line has and MDS does not know: flags as written, and unset variables that may hold
  /// flags.
  package private(set) var unknown: [String] = []
  /// Flags whose free text has a variable that is not set.
  package private(set) var unresolved: [String] = []
  private var keepingUnresolvedTexts = false

  /// MDS's defaults.
  package init() {
    names = MegatronArgument.all.map(\.dest)
    values = MegatronArgument.byDest.mapValues(\.initial)
  }

  /// Reads a user's command line.
  ///
  /// - Parameters:
  ///   - commandLine: the arguments; or a shell script in which one command, or the variables it sets, hold
  ///     them (see `ShellScript`); or a log of MDS in which it prints its arguments, one a line, as
  ///     `name ........ value` (megatron/arguments.py: _print_args), which is preferred. Of several commands
  ///     the one with the most known flags counts, from behind its last word that ends in `.py`; of equals
  ///     the last.
  ///   - keepingUnresolvedTexts: whether an unset variable in a free text (a path mostly, which no checkpoint
  ///     depends on) is left as it is written, and listed in `unresolved`, where any other is an error.
  package init(
    commandLine: String, keepingUnresolvedTexts: Bool = false
  ) throws(MegatronArgumentError) {
    self.init()
    self.keepingUnresolvedTexts = keepingUnresolvedTexts
    if try !read(log: commandLine) {
      try parse(ShellScript(commandLine).arguments { MegatronArgument.byFlag[$0] != nil })
    }
  }

  /// nil if there is no such attribute; `.none` if Python holds None.
  package subscript(name: String) -> ArgumentValue? { values[name] }

  /// The attributes with their values, in order.
  package var attributes: [(name: String, value: ArgumentValue)] { names.map { ($0, values[$0] ?? .none) } }

  package func isTrue(_ name: String) -> Bool { values[name]?.isTrue ?? false }
  package func int(_ name: String) -> Int? { values[name]?.asInt }
  package func double(_ name: String) -> Double? { values[name]?.asDouble }
  package func string(_ name: String) -> String? { values[name]?.asString }

  /// Sets an attribute in its place, or appends a new one, as Python does.
  package mutating func set(_ name: String, _ value: ArgumentValue) {
    if values.updateValue(value, forKey: name) == nil { names.append(name) }
  }

  /// Sets an attribute that is missing or None.
  package mutating func setDefault(_ name: String, _ value: ArgumentValue) {
    let isNone = if case .none? = values[name] { true } else { values[name] == nil }
    if isNone { set(name, value) }
  }

  package mutating func remove(_ name: String) {
    if values.removeValue(forKey: name) != nil { names.removeAll { $0 == name } }
  }

  // MARK: Command lines

  /// As argparse does (CPython Lib/argparse.py: _parse_known_args), with `allow_abbrev=False`; positional
  /// words and unknown flags' values are skipped.
  private mutating func parse(_ words: [String]) throws(MegatronArgumentError) {
    var rest = words[...]
    while let word = rest.popFirst() {
      if let variable = ShellScript.unresolvedVariable(in: word), !word.hasPrefix("--") {
        unknown.append(variable)
      }
      guard MegatronArguments.isFlag(word) else { continue }
      let flag = String(word.prefix { $0 != "=" })
      let inline = word.count > flag.count ? String(word.dropFirst(flag.count + 1)) : nil
      guard let argument = MegatronArgument.byFlag[flag] else {
        unknown.append(flag)
        continue
      }
      if let instead = MegatronArguments.removed[argument.dest] {
        throw .removed(flag: flag, instead: instead)
      }
      given.insert(argument.dest)
      values[argument.dest] = try value(of: argument, flag: flag, inline: inline, rest: &rest)
    }
  }

  private mutating func value(
    of argument: MegatronArgument, flag: String, inline: String?, rest: inout ArraySlice<String>
  ) throws(MegatronArgumentError) -> ArgumentValue {
    if argument.kind == .on || argument.kind == .off {
      if let inline { throw .malformed(flag: flag, value: inline, expected: argument.expectation) }
      return .bool(argument.kind == .on)
    }
    var words: [String] = []
    if let inline {
      words = [inline]
    } else {
      while let next = rest.first, !MegatronArguments.isFlag(next), argument.arity != .one || words.isEmpty {
        words.append(next)
        rest.removeFirst()
      }
    }
    var items: [ArgumentValue] = []
    for word in words {
      if keepingUnresolvedTexts, argument.kind == .string, argument.choices.isEmpty,
        ShellScript.unresolvedVariable(in: word) != nil
      {
        unresolved.append(flag)
        items.append(.string(ShellScript.asWritten(word)))
      } else {
        items.append(try argument.value(of: word, flag: flag))
      }
    }
    if items.isEmpty, argument.arity != .any {
      throw .missingValue(flag: flag, expected: argument.expectation)
    }
    switch argument.arity {
    case .one: return items[0]
    case .any, .some: return .list(items)
    case .appending:
      if case .list(let old)? = values[argument.dest] { return .list(old + items) }
      return .list(items)
    }
  }

  /// Attributes that MDS refuses (megatron/arguments.py: validate_args) → what replaces their flag.
  private static let removed = [
    "batch_size": "--micro-batch-size", "warmup": "--lr-warmup-fraction",
    "model_parallel_size": "--tensor-model-parallel-size",
  ]

  /// Whether argparse takes the word for a flag: it begins with `-`, and is neither a negative number nor has
  /// blanks, except behind the `=` of a known flag.
  private static func isFlag(_ word: String) -> Bool {
    word.hasPrefix("-") && word.count > 1 && Double(word) == nil
      && (!word.contains(" ") || MegatronArgument.byFlag[String(word.prefix { $0 != "=" })] != nil)
  }

  // MARK: Logs

  /// Reads the lines `name ........ value` of a log; whatever a launcher puts before the name is skipped.
  /// - Returns: whether there were any.
  private mutating func read(log: String) throws(MegatronArgumentError) -> Bool {
    var found = false
    for line in log.split(whereSeparator: \.isNewline) {
      guard let (name, text) = MegatronArguments.printed(line) else { continue }
      guard let argument = MegatronArgument.byDest[name] else {
        if !MegatronArguments.derived.contains(name) { unknown.append(name) }
        continue
      }
      found = true
      given.insert(name)
      values[name] = try argument.value(printed: text)
    }
    if !found { unknown = [] }
    return found
  }

  /// The name and value if the line has four dots or more between them, as all of MDS's have.
  private static func printed(_ line: Substring) -> (String, String)? {
    guard let range = line.utf8.firstRange(of: " ....".utf8) else { return nil }
    let name = line[..<range.lowerBound].split(separator: " ").last.map(String.init) ?? ""
    let rest = line[range.upperBound...].drop { $0 == "." }
    guard !name.isEmpty, name.allSatisfy({ $0 == "_" || $0.isLetter || $0.isNumber }),
      rest.isEmpty || rest.first == " "
    else { return nil }
    var text = rest.dropFirst()
    while text.last == " " { text.removeLast() }
    return (name, String(text))
  }
}
