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
