extension String {
  /// What follows `prefix`; `nil` if the string doesn't start with it.
  package func dropping(prefix: String) -> String? {
    hasPrefix(prefix) ? String(dropFirst(prefix.count)) : nil
  }

  /// `number` in `radix` with zeros in front up to `digits`, as `"{:02d}".format(number)`.
  package init(_ number: some BinaryInteger, digits: Int, radix: Int = 10) {
    let text = String(number, radix: radix)
    self.init(repeating: "0", count: Swift.max(0, digits - text.count))
    self += text
  }
}

extension String {
  /// The text in one line that can't move a terminal's cursor, colour it, or pass for two lines: control characters, line
  /// separators and changes of the writing direction, as names and JSON may hold them, become `\n` and `\u{1b}`.
  package var printable: String {
    func isPlain(_ scalar: Unicode.Scalar) -> Bool {
      switch scalar.properties.generalCategory {
      case .control, .lineSeparator, .paragraphSeparator: false
      // LRM to RLM, embeddings, overrides, isolates.
      case .format:
        !(0x200E...0x200F).contains(scalar.value) && !(0x202A...0x202E).contains(scalar.value)
          && !(0x2066...0x2069).contains(scalar.value)
      default: true
      }
    }
    if unicodeScalars.allSatisfy(isPlain) { return self }
    return unicodeScalars.reduce(into: "") { text, scalar in
      switch scalar {
      case "\n": text += "\\n"
      case "\t": text += "\\t"
      case "\r": text += "\\r"
      case _ where isPlain(scalar): text.unicodeScalars.append(scalar)
      default: text += "\\u{\(String(scalar.value, radix: 16))}"
      }
    }
  }
}
