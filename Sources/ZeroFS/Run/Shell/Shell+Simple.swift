import Bytes

extension Shell {
  /// Commands that start the one behind them, with as many words as they take themselves.
  private static let wrappers: Set<String> = ["command", "builtin", "exec", "nohup", "stdbuf", "sudo"]
  private static let shells: Set<String> = ["bash", "sh", "dash", "ksh", "zsh"]
  /// What these start doesn't have the script's variables.
  private static let elsewhere: Set<String> = [
    "ssh", "pdsh", "clush", "docker", "podman", "kubectl", "qsub", "parallel", "xargs",
  ]
  /// Programs that start the script among their words.
  private static let launchers: Set<String> = [
    "srun", "sbatch", "qsub", "mpiexec", "mpirun", "aprun", "jsrun", "nice", "timeout", "numactl",
    "singularity", "apptainer",
  ]
  static let maxWords = 200_000

  mutating func simple(_ assignments: [ShellAssignment], _ items: [ShellItem], _ line: Int) throws(ShellError)
  {
    if case .word(let first)? = items.first, let name = first.plain, ShellParser.declarations.contains(name) {
      return try declare(name, Array(items.dropFirst()), line)
    }
    var words: [String] = []
    for case .word(let word) in items { words += try fields(word) }
    if words.count > Self.maxWords { throw .tooLong(line) }
    guard !words.isEmpty else {
      status = 0
      for assignment in assignments { try assign(assignment, line) }
      return
    }
    let before = assignments.map { ($0.name, variables[$0.name]) }
    for assignment in assignments {
      try assign(assignment, line)
      variables[assignment.name]?.isExported = true
    }
    try call(words, line)
    for (name, old) in before { variables[name] = old }
  }

  /// A command of which the words are known.
  mutating func call(_ words: [String], _ line: Int) throws(ShellError) {
    let name = words[0]
    if let function = functions[name] { return try call(function, Array(words.dropFirst()), line) }
    if try builtin(words, line) { return }
    if try tool(words, line) { return }
    if Self.wrappers.contains(name) {
      let rest = Array(words.drop { Self.wrappers.contains($0) || $0.hasPrefix("-") })
      if rest.isEmpty { return }
      let isLast = words.first == "exec"
      try call(rest, line)
      if isLast { flow = .end }
      return
    }
    if name == "env" {
      return try environment(words, line)
    }
    try start(words, line)
  }

  private mutating func environment(_ words: [String], _ line: Int) throws(ShellError) {
    var rest = words.dropFirst()
    let result = try subshell { shell throws(ShellError) in
      while let word = rest.first, word.contains("=") || word.hasPrefix("-") {
        rest.removeFirst()
        if word == "-u" { rest = rest.dropFirst() }
        guard let place = word.firstIndex(of: "="), !word.hasPrefix("-") else { continue }
        try shell.assign(String(word[..<place]), String(word[word.index(after: place)...]), line)
        shell.variables[String(word[..<place])]?.isExported = true
      }
      if rest.isEmpty {
        shell.output += ShellUnknown.text(line, "env")
      } else {
        try shell.start(Array(rest), line)
      }
    }
    (output, status) = (result.output, result.status)
  }

  private mutating func call(_ function: ShellFunction, _ words: [String], _ line: Int) throws(ShellError) {
    try enter(line)
    let outer = (arguments, file)
    arguments = words
    file = function.file
    hidden.append([:])
    try run(function.body)
    for (name, old) in hidden.removeLast() { variables[name] = old }
    (arguments, file) = outer
    if flow == .back { flow = .normal }
    calls -= 1
  }

  // MARK: Programs

  /// A program that isn't part of the script: MDS, what launches MDS, a shell with a script of its own, or anything else.
  private mutating func start(_ words: [String], _ line: Int) throws(ShellError) {
    status = nil
    if let place = words.firstIndex(where: { Self.shells.contains(Self.base($0)) }),
      !words[..<place].contains(where: { $0.hasSuffix(".py") })
    {
      let isElsewhere = words[..<place].contains { Self.elsewhere.contains(Self.base($0)) }
      if try shell(Array(words[(place + 1)...]), isElsewhere: isElsewhere, line) { return }
    } else if ["ssh", "pdsh", "clush"].contains(Self.base(words[0])), words.count > 2 {
      return try inner(words.dropFirst(2).joined(separator: " "), [], name, isElsewhere: true, line)
    } else if let wrap = words.firstIndex(where: { $0 == "--wrap" || $0.hasPrefix("--wrap=") }) {
      let text =
        words[wrap] == "--wrap" ? words[wrap...].dropFirst().first ?? "" : String(words[wrap].dropFirst(7))
      return try inner(text, [], "sbatch", isElsewhere: false, line)
    } else if ["sbatch", "qsub"].contains(Self.base(words[0])),
      !words.contains(where: { $0.hasSuffix(".sh") }),
      let input, input.hasPrefix("#!")
    {
      return try inner(input, [], "job", isElsewhere: Self.base(words[0]) == "qsub", line)
    } else if let place = words.firstIndex(where: {
      $0.hasSuffix(".sh") || $0.hasSuffix(".bash") || $0.hasSuffix(".slurm")
    }),
      place == 0 || Self.launchers.contains(Self.base(words[0])),
      !words.contains(where: { $0.hasSuffix(".py") }), let text = try contents(words[place], line)
    {
      let isElsewhere = words[..<place].contains { Self.elsewhere.contains(Self.base($0)) }
      return try inner(
        text, Array(words[(place + 1)...]), words[place], isElsewhere: isElsewhere, line)
    }
    touch(words, line)
    // `xargs` and its like add words of their own.
    let adds = words.contains { ["xargs", "parallel"].contains(Self.base($0)) }
    record.launch(
      words + (adds ? [ShellUnknown.text(-line, "what \(Self.base(words[0])) adds")] : []), line: line)
    output += ShellUnknown.text(line, "$(\(words.joined(separator: " ")))")
  }

  static func base(_ word: String) -> String {
    word.utf8.lastIndex(of: UInt8(ascii: "/")).map { String(word[word.utf8.index(after: $0)...]) } ?? word
  }

  /// What a program is given may be changed by it.
  private mutating func touch(_ words: [String], _ line: Int) {
    for word in words.dropFirst() where !word.hasPrefix("-") && !word.contains(" ") {
      guard let path = path(word) else { continue }
      if written[path] != nil {
        written[path] = ShellUnknown.text(line, word)
      } else if files.is("-f", path) == true {
        record.touched.insert(path)
      }
    }
  }

  /// `bash -c text`, `bash file`, or bash with a script as its input.
  ///
  /// - Returns: whether the script is here.
  private mutating func shell(_ words: [String], isElsewhere: Bool, _ line: Int) throws(ShellError) -> Bool {
    var rest = words[...]
    var takesText = false
    while let word = rest.first, word.hasPrefix("-"), word.count > 1 {
      rest.removeFirst()
      if word == "--" { break }
      if !word.hasPrefix("--"), word.contains("c") { takesText = true }
      if !word.hasPrefix("--"), word.contains("s") { rest = [] }
      if !word.hasPrefix("--"), word.hasSuffix("o") || word.hasSuffix("O") { rest = rest.dropFirst() }
    }
    if takesText {
      guard let text = rest.popFirst() else { return false }
      let own = rest.popFirst() ?? "bash"
      try inner(text, Array(rest), own, isElsewhere: isElsewhere, line)
      return true
    }
    if let file = rest.popFirst() {
      guard let text = try contents(file, line) else { return false }
      try inner(text, Array(rest), file, isElsewhere: isElsewhere, line)
      return true
    }
    guard let input, !ShellUnknown.isIn(input) || input.contains("\n") else { return false }
    try inner(input, [], "bash", isElsewhere: isElsewhere, line)
    return true
  }

  /// A script that another shell reads: it has what is exported, and keeps what it sets.
  private mutating func inner(
    _ text: String, _ words: [String], _ own: String, isElsewhere: Bool, _ line: Int
  )
    throws(ShellError)
  {
    try enter(line)
    defer { calls -= 1 }
    var shell = Shell(name: own, environment: [:], files: files, record: record)
    if !isElsewhere { shell.variables = variables.filter { $0.value.isExported && $0.value.kind == .scalar } }
    shell.missing = isElsewhere ? own : missing
    shell.arguments = words
    shell.directory = isElsewhere ? nil : directory
    shell.written = written
    shell.calls = calls
    try shell.run(ShellParser.parse(text, line: own == "bash" || own == "job" ? line : 1))
    status = shell.flow == .end || shell.status == nil ? nil : shell.status
    output += shell.output
  }
}
