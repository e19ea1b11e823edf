/// The fields that one word of a script grows into.
struct ShellFields {
  private var done: [[UInt8]] = []
  private var current: [UInt8]?

  var finished: [String] { (done + (current.map { [$0] } ?? [])).map { String(decoding: $0, as: UTF8.self) } }

  mutating func append(_ bytes: some Sequence<UInt8>) {
    if current == nil { current = [] }
    current?.append(contentsOf: bytes)
  }

  /// - Parameters:
  ///   - splitting: cut the elements at blanks, as the shell does outside of quotes.
  ///   - separately: elements become fields of their own; else they are joined with blanks.
  mutating func append(_ elements: [String], splitting: Bool, separately: Bool) {
    guard splitting || separately else { return append(elements.joined(separator: " ").utf8) }
    for (index, element) in elements.enumerated() {
      if index > 0 { finish() }
      guard splitting else {
        append(element.utf8)
        continue
      }
      var isMarked = false
      for byte in element.utf8 {
        if byte == 0 { isMarked.toggle() }
        if !isMarked, " \t\n".utf8.contains(byte) { finish() } else { append([byte]) }
      }
    }
  }

  private mutating func finish() {
    if let current { done.append(current) }
    current = nil
  }
}
