import Bytes

extension Shell {
  mutating func assign(_ name: String, _ text: String, _ line: Int) throws(ShellError) {
    try record.spend(text.utf8.count, line)
    if variables[name] == nil { variables[name] = ShellVariable("") }
    if exportsAll { variables[name]?.isExported = true }
    switch variables[name]?.kind {
    case .scalar?: variables[name]?.elements = [text]
    case .array?:
      if variables[name]?.elements.isEmpty == true {
        variables[name]?.elements = [text]
      } else {
        variables[name]?.elements[0] = text
      }
    default: variables[name]?.set(text, at: "0")
    }
  }

  /// - Returns: the name.
  @discardableResult
  mutating func assign(_ assignment: ShellAssignment, kind: ShellVariable.Kind? = nil, _ line: Int)
    throws(ShellError)
    -> String
  {
    let name = assignment.name
    switch assignment.value {
    case .array(let items):
      try assign(items, to: name, appends: assignment.appends, kind: kind, line)
    case .word(let word):
      let text = try self.text(word)
      if let key = assignment.key {
        try assign(text, to: name, key, appends: assignment.appends, line)
      } else {
        try assign(name, (assignment.appends ? variables[name]?.elements.first ?? "" : "") + text, line)
      }
    }
    return name
  }

  private mutating func assign(
    _ items: [(key: ShellWord?, value: ShellWord)], to name: String, appends: Bool, kind: ShellVariable.Kind?,
    _ line: Int
  ) throws(ShellError) {
    let isMap = kind == .map || variables[name]?.kind == .map
    if isMap {
      var map = appends ? variables[name] ?? ShellVariable(kind: .map) : ShellVariable(kind: .map)
      for item in items {
        guard let key = item.key else { throw .syntax(line, "an item of \(name) has no [key]") }
        map.set(try text(item.value), at: try text(key))
      }
      variables[name] = map
      return
    }
    var added: [String] = []
    for item in items {
      guard let key = item.key else {
        added += try fields(item.value)
        continue
      }
      guard !appends, try arithmetic(key) == added.count else {
        throw .syntax(line, "an array with gaps isn't followed")
      }
      added.append(try text(item.value))
    }
    if appends, let old = variables[name] {
      if old.kind == .scalar { variables[name]?.kind = .array }
    } else {
      let isExported = variables[name]?.isExported ?? false
      variables[name] = ShellVariable(kind: .array)
      variables[name]?.isExported = isExported
    }
    try record.spend(16 * added.count, line)
    variables[name]?.elements.append(contentsOf: added)
  }

  private mutating func assign(_ text: String, to name: String, _ key: ShellWord, appends: Bool, _ line: Int)
    throws(ShellError)
  {
    if variables[name]?.kind == .map {
      let key = try self.text(key)
      if ShellUnknown.isIn(key) {
        throw .unknown(line, "which item of \(name) is set is known only in the run")
      }
      let old = appends ? variables[name]?[key] ?? "" : ""
      variables[name]?.set(old + text, at: key)
      return
    }
    guard let index = try arithmetic(key) else {
      throw .unknown(line, "which item of \(name) is set is known only in the run")
    }
    if variables[name] == nil { variables[name] = ShellVariable(kind: .array) }
    variables[name]?.kind = .array
    let count = variables[name]?.elements.count ?? 0
    if index == count {
      variables[name]?.elements.append(text)
    } else if index >= 0, index < count {
      let old = appends ? variables[name]?.elements[index] ?? "" : ""
      variables[name]?.elements[index] = old + text
    } else {
      throw .syntax(line, "an array with gaps isn't followed")
    }
  }

  /// `export`, `local`, `declare`, `readonly` and `typeset`.
  mutating func declare(_ command: String, _ items: [ShellItem], _ line: Int) throws(ShellError) {
    var flags = ""
    var names: [ShellItem] = []
    for item in items {
      switch item {
      case .assignment: names.append(item)
      case .word(let word):
        for field in try fields(word) {
          if field.hasPrefix("-") {
            flags += field.dropFirst()
          } else if ShellUnknown.isIn(field) {
            throw .unknown(line, "what \(command) sets is known only in the run")
          } else {
            names.append(.word(ShellWord(parts: [.literal(field, isQuoted: true)], line: line)))
          }
        }
      }
    }
    if let flag = flags.first(where: { !"Aaxrgtfp".contains($0) }) {
      throw .syntax(line, "\(command) -\(flag) isn't followed")
    }
    status = 0
    if flags.contains("f") || flags.contains("p") { return }
    let kind: ShellVariable.Kind? = flags.contains("A") ? .map : flags.contains("a") ? .array : nil
    let isLocal =
      command == "local"
      || ["declare", "typeset"].contains(command) && !hidden.isEmpty && !flags.contains("g")
    for item in names {
      try declare(item, kind, isLocal: isLocal, line)
    }
    guard command == "export" || flags.contains("x") else { return }
    for item in names { if let name = Self.name(item) { variables[name]?.isExported = true } }
  }

  private static func name(_ item: ShellItem) -> String? {
    switch item {
    case .assignment(let assignment): return assignment.name
    case .word(let word):
      guard case .literal(let text, _)? = word.parts.first else { return nil }
      return String(text.prefix { $0 != "=" })
    }
  }

  private mutating func declare(_ item: ShellItem, _ kind: ShellVariable.Kind?, isLocal: Bool, _ line: Int)
    throws(ShellError)
  {
    guard let name = Self.name(item), ShellParser.isName(name) else {
      throw .syntax(line, "this declaration isn't followed")
    }
    // The value may be made of the variable that is being hidden.
    let hiding = isLocal ? variables[name] : nil
    func hide(_ shell: inout Shell) {
      guard isLocal, !shell.hidden.isEmpty else { return }
      let last = shell.hidden.count - 1
      if shell.hidden[last][name] == nil { shell.hidden[last].updateValue(hiding, forKey: name) }
    }
    switch item {
    case .assignment(let assignment):
      hide(&self)
      if let kind, variables[name]?.kind != kind { variables[name] = ShellVariable(kind: kind) }
      try assign(assignment, kind: kind, line)
    case .word(let word):
      guard case .literal(let text, _)? = word.parts.first else { return }
      hide(&self)
      if let kind, variables[name]?.kind != kind { variables[name] = ShellVariable(kind: kind) }
      if text.count > name.count {
        try assign(name, String(text.dropFirst(name.count + 1)), line)
      } else if isLocal, kind == nil {
        variables[name] = ShellVariable("")
      }
    }
  }
}
