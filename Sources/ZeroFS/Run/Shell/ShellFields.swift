/// The words that expansions grow into (bash(1), "Word Splitting").
struct ShellFields {
  struct Field {
    var text = ""
    var isGlob = false
  }

  private let separators: String
  private var done: [Field] = []
  private var current: Field?

  init(separators: String) {
    self.separators = separators
  }

  var finished: [Field] { done + (current.map { [$0] } ?? []) }

  mutating func append(_ text: String, isGlob: Bool = false) {
    if current == nil { current = Field() }
    current?.text += text
    if isGlob { current?.isGlob = true }
  }

  /// Elements of an array or the arguments.
  mutating func append(items: [String], isQuoted: Bool, joins: Bool) {
    if joins { return append(items.joined(separator: String(separators.prefix(1)))) }
    for (index, item) in items.enumerated() {
      if index > 0 { finish() }
      if isQuoted { append(item) } else { split(item) }
    }
  }

  /// What isn't quoted is cut at separators. An open part stays whole.
  mutating func split(_ text: String) {
    let (scalars, separators) = (text.unicodeScalars, Array(separators.unicodeScalars))
    var (start, isOpen, isGlob) = (scalars.startIndex, false, false)
    for index in scalars.indices {
      let scalar = scalars[index]
      if scalar == ShellUnknown.markScalar { isOpen.toggle() }
      if isOpen || !separators.contains(scalar) {
        if !isOpen && (scalar == "*" || scalar == "?") { isGlob = true }
        continue
      }
      if start < index { append(String(scalars[start..<index]), isGlob: isGlob) }
      if !scalar.properties.isWhitespace && current == nil { current = Field() }
      finish()
      (start, isGlob) = (scalars.index(after: index), false)
    }
    if start < scalars.endIndex { append(String(scalars[start...]), isGlob: isGlob) }
  }

  mutating func finish() {
    if let current { done.append(current) }
    current = nil
  }
}
