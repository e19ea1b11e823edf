import Bytes

extension Shell {
  /// Follows both branches of a decision that only the run can make, and keeps what they agree on. A branch that ends the script
  /// has no say in what follows.
  mutating func either(
    _ line: Int, _ first: (inout Shell) throws(ShellError) -> Void,
    _ second: (inout Shell) throws(ShellError) -> Void
  ) throws(ShellError) {
    var other = self
    try first(&self)
    try second(&other)
    if flow == .end, other.flow != .end {
      self = other
    } else if other.flow != .end || flow == .end {
      try merge(other, line)
    }
  }

  /// A loop. Where its end isn't known, its body is followed until another turn changes nothing.
  mutating func loop(
    _ line: Int, _ condition: (inout Shell) throws(ShellError) -> Bool?,
    body: (inout Shell) throws(ShellError) -> Void
  ) throws(ShellError) {
    while true {
      try record.step(line)
      switch try condition(&self) {
      case false?:
        status = 0
        return
      case true?:
        try body(&self)
        if leavesLoop() { return }
      case nil:
        try turns(line) { shell throws(ShellError) in
          try body(&shell)
          _ = shell.leavesLoop()
          if shell.flow == .normal { _ = try condition(&shell) }
        }
        return
      }
    }
  }

  /// Any number of turns of a loop.
  mutating func turns(_ line: Int, _ body: (inout Shell) throws(ShellError) -> Void) throws(ShellError) {
    for _ in 0..<4 {
      let before = self
      try either(line, body) { _ in }
      if flow != .normal || agrees(with: before) {
        status = nil
        return
      }
    }
    throw .unknown(line, "how often this loop runs is known only in the run")
  }

  /// What `break` and `continue` ask of the loop that they are in.
  mutating func leavesLoop() -> Bool {
    guard flow == .leave || flow == .next else { return flow != .normal }
    levels -= 1
    let leaves = flow == .leave || levels > 0
    if levels == 0 { flow = .normal }
    return leaves
  }

  mutating func each(_ name: String, _ words: [ShellWord]?, _ body: ShellList, _ line: Int) throws(ShellError)
  {
    var fields: [String] = []
    if let words {
      for word in words { fields += try self.fields(word) }
    } else {
      fields = allArguments(line)
    }
    if let open = fields.first(where: ShellUnknown.isIn) {
      return try turns(line) { shell throws(ShellError) in
        try shell.assign(name, open, line)
        try shell.run(body)
        _ = shell.leavesLoop()
      }
    }
    for field in fields {
      try record.step(line)
      try assign(name, field, line)
      try run(body)
      if leavesLoop() { return }
    }
    if fields.isEmpty { status = 0 }
  }

  private func agrees(with other: Shell) -> Bool {
    variables == other.variables && directory == other.directory && output == other.output
      && arguments == other.arguments && written == other.written
  }

  private mutating func merge(_ other: Shell, _ line: Int) throws(ShellError) {
    guard flow == other.flow, levels == other.levels, hidden.count == other.hidden.count else {
      throw .unknown(line, "how the script goes on from here is known only in the run")
    }
    try record.spend(100 * (variables.count + other.variables.count), line)
    for name in Set(variables.keys).union(other.variables.keys) where variables[name] != other.variables[name]
    {
      let old = variables[name] ?? other.variables[name]
      let isOneWord = [variables[name], other.variables[name]].allSatisfy { Self.isOneWord($0) }
      variables[name] = Self.open(name, old, isOneWord ? line : -line)
    }
    for index in hidden.indices {
      hidden[index].merge(other.hidden[index]) { mine, theirs in
        mine == theirs ? mine : ShellVariable(ShellUnknown.text(line, "a local variable"))
      }
    }
    for name in Set(functions.keys).union(other.functions.keys)
    where functions[name]?.line != other.functions[name]?.line
      || functions[name]?.file != other.functions[name]?.file
    {
      throw .unknown(line, "which function \(name) is, is known only in the run")
    }
    if directory != other.directory { directory = nil }
    if arguments != other.arguments { throw .unknown(line, "the arguments are known only in the run") }
    for path in Set(written.keys).union(other.written.keys) where written[path] != other.written[path] {
      written[path] = ShellUnknown.text(line, path)
    }
    if output != other.output { output = ShellUnknown.text(line, "a branch's output") }
    if input != other.input { input = input ?? other.input.map { _ in ShellUnknown.text(line, "the rest") } }
    if status != other.status { status = nil }
    missing = missing ?? other.missing
  }

  private static func isOneWord(_ variable: ShellVariable?) -> Bool {
    guard let variable else { return true }
    guard variable.kind == .scalar, let text = variable.elements.first else { return false }
    return !text.isEmpty && !text.hasPrefix("-") && !text.contains(where: \.isWhitespace)
      && !ShellUnknown.isManyWords(text)
      || ShellUnknown.isIn(text) && !ShellUnknown.isManyWords(text)
  }

  /// A variable of which nothing is known but the line that decides the value.
  static func open(_ name: String, _ old: ShellVariable?, _ line: Int) -> ShellVariable {
    var result = ShellVariable(ShellUnknown.text(line, "$" + name), isExported: old?.isExported ?? false)
    if let kind = old?.kind, kind != .scalar { result.kind = .array }
    return result
  }

  /// Behind a sourced file that isn't here, which may have set anything.
  mutating func forget(because file: String, _ line: Int) {
    missing = missing ?? file
    for (name, old) in variables {
      variables[name] = Self.open("\(name) (or as \(file) sets it, which isn't here)", old, line)
    }
    status = nil
  }
}
