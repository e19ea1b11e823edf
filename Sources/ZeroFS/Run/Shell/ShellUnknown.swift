/// Texts of which parts are known only where the run is. Such a part stands between two NUL bytes, which no text of bash's has:
/// the line of the script that leaves it open, and what is written there.
enum ShellUnknown {
  static let mark = Character(markScalar)
  static let markScalar: Unicode.Scalar = "\u{0}"
  static let maxDescription = 80

  static func text(_ line: Int, _ written: String) -> String {
    let shown = asWritten(written).map { $0.isNewline ? " " : $0 }.prefix(maxDescription)
    return "\(mark)\(line):\(String(shown))\(mark)"
  }

  /// Where the words on both sides of a decision are known, and one of them is more than one word, none, or a flag.
  static func isManyWords(_ text: String) -> Bool { text.contains("\0-") }

  static func isIn(_ text: String) -> Bool { text.utf8.contains(0) }

  /// The open parts of a text.
  static func parts(of text: String) -> [(line: Int, written: String)] {
    guard isIn(text) else { return [] }
    let pieces = text.split(separator: mark, omittingEmptySubsequences: false)
    return pieces.indices.filter { $0 % 2 == 1 }.map { index in
      let piece = pieces[index]
      let digits = piece.prefix { $0 != ":" }
      return (abs(Int(digits) ?? 0), String(piece.dropFirst(digits.count + 1)))
    }
  }

  /// The text with its open parts as they are written in the script.
  static func asWritten(_ text: String) -> String {
    guard isIn(text) else { return text }
    let pieces = text.split(separator: mark, omittingEmptySubsequences: false)
    return pieces.enumerated().map { index, piece in
      index % 2 == 1 ? String(piece.drop { $0 != ":" }.dropFirst()) : String(piece)
    }.joined()
  }
}
