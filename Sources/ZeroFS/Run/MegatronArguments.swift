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
  /// Flags of a command line that MDS does not know, as written.
  package private(set) var unknown: [String] = []
  /// Flags of free texts, paths mostly, of which a part is known only in the run; they are kept as written.
  package private(set) var unresolved: [String] = []
  /// How the text of the arguments was read, where the user should know.
  package private(set) var notes: [String] = []
  /// Ranks that hold copies of the model, where a log says.
  package private(set) var dataParallelSize: Int?
  private var loggedWorldSize: Int?

  /// MDS's defaults.
  package init() {
    names = MegatronArgument.all.map(\.dest)
    values = MegatronArgument.byDest.mapValues(\.initial)
  }

  /// Reads a user's command line.
  ///
  /// - Parameter textOrFile: the arguments; or a script that starts the run (see `Shell`); or a log of MDS (see `MegatronLog`); or
  ///   the name of a file that holds one of these. Of several commands the one that trains counts.
  /// - Throws: `MegatronArgumentError`; what `RunText` throws.
  package init(textOrFile text: String) throws {
    try self.init(RunText(textOrFile: text, Self.program))
  }

  /// - Parameter environment: the variables that a script finds set.
  package init(commandLine text: String, environment: [String: String] = [:]) throws {
    try self.init(RunText(text, Self.program, environment: environment))
  }

  /// The command line of `init(textOrFile:)` with all that it depends on.
  ///
  /// - Throws: as `init(textOrFile:)`: a text that is recorded doesn't tell any more what of it was open.
  package static func recorded(textOrFile text: String) throws -> (text: String, notes: [String]) {
    let text = try RunText(textOrFile: text, program)
    _ = try MegatronArguments(text)
    return (text.recorded, text.notes)
  }

  static let program = RunProgram(
    name: "Megatron-DeepSpeed", isFlag: { MegatronArgument.byFlag[$0] != nil },
    training: ["--lr", "--train-iters", "--train-samples", "--train-tokens"])

  private init(_ text: RunText) throws {
    self.init()
    notes = text.notes
    if let log = text.log { try read(log) } else { try parse(text.words) }
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
    var open: [MegatronArgumentError.Open] = []
    while let word = rest.popFirst() {
      open += MegatronArgumentError.open(
        "a word", word.hasPrefix("-") ? String(word.prefix { $0 != "=" }) : word)
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
      values[argument.dest] = try value(of: argument, flag: flag, inline: inline, rest: &rest, &open)
    }
    if !open.isEmpty { throw .unresolved(open) }
  }

  private mutating func value(
    of argument: MegatronArgument, flag: String, inline: String?, rest: inout ArraySlice<String>,
    _ open: inout [MegatronArgumentError.Open]
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
    for word in words { items.append(try item(word, of: argument, flag: flag, &open)) }
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

  /// A word behind a flag. Free text may be known in the run only; anything else is open then.
  private mutating func item(
    _ word: String, of argument: MegatronArgument, flag: String, _ open: inout [MegatronArgumentError.Open]
  ) throws(MegatronArgumentError) -> ArgumentValue {
    guard ShellUnknown.isIn(word) else { return try argument.value(of: word, flag: flag) }
    if argument.kind == .string, argument.choices.isEmpty, !ShellUnknown.isManyWords(word) {
      unresolved.append(flag)
    } else {
      open += MegatronArgumentError.open(flag, word)
    }
    return .string(ShellUnknown.asWritten(word))
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

  private mutating func read(_ log: MegatronLog) throws {
    for (name, text) in log.entries {
      guard let argument = MegatronArgument.byDest[name] else {
        if name == "data_parallel_size" { dataParallelSize = Int(text) }
        if name == "world_size" { loggedWorldSize = Int(text) }
        if !MegatronArguments.derived.contains(name) { unknown.append(name) }
        continue
      }
      given.insert(name)
      values[name] = try argument.value(printed: text)
    }
    try checkWorldSize()
  }

  /// A log says the number of ranks, too.
  private mutating func checkWorldSize() throws(MegatronArgumentError) {
    let names = ["tensor_model_parallel_size", "pipeline_model_parallel_size"]
    guard let worldSize = loggedWorldSize, let dataParallelSize, names.allSatisfy(given.contains) else {
      return
    }
    var ranks = dataParallelSize
    for name in names + ["ds_sequence_parallel_size"] {
      let (product, overflow) = ranks.multipliedReportingOverflow(by: int(name) ?? 1)
      guard !overflow else { throw .conflict("the log's parallel sizes are too large") }
      ranks = product
    }
    if ranks != worldSize {
      throw .conflict("the log has a world_size of \(worldSize), but its parallel sizes make \(ranks)")
    }
  }
}
