import Bytes
import Glibc

/// The arguments that MDS prints when it starts (megatron/arguments.py: `_print_args`).
///
/// They stand one a line, `name ........ value`, between "--- arguments ---" and "--- end of arguments ---", behind whatever a
/// launcher or a terminal puts there. Runs that start again append: the last whole block counts.
struct MegatronLog: Sendable {
  private(set) var entries: [(name: String, value: String)] = []

  private static let beginning = Array(" arguments ---".utf8)
  private static let ending = Array(" end of arguments ---".utf8)

  /// `nil` if the text has no such block.
  ///
  /// - Throws: `RunError.log` if the only block is cut off.
  init?(_ text: String) throws(RunError) {
    var text = text
    let block = text.withUTF8 { bytes in
      let end = Self.last(Self.ending, in: bytes[...])
      let start = end.flatMap { Self.last(Self.beginning, in: bytes[..<$0]) }
      return (
        start: start, end: end,
        text: start.flatMap { start in end.map { String(decoding: bytes[start..<$0], as: UTF8.self) } },
        // "end of arguments" holds the other's words, too.
        hasBeginning: Self.last(Self.beginning, in: bytes[...]) != nil
      )
    }
    guard let lines = block.text else {
      if block.hasBeginning || block.end != nil { throw .log("the block of arguments is cut off") }
      return nil
    }
    for line in lines.split(whereSeparator: \.isNewline) {
      if let entry = Self.entry(line) { entries.append(entry) }
    }
    if entries.isEmpty { throw .log("the block of arguments is empty") }
  }

  var text: String {
    "--- arguments ---\n" + entries.map { "  \($0.name) .... \($0.value)\n" }.joined()
      + "--- end of arguments ---\n"
  }

  private static func last(_ needle: [UInt8], in bytes: Slice<UnsafeBufferPointer<UInt8>>) -> Int? {
    guard let base = bytes.base.baseAddress, bytes.count >= needle.count else { return nil }
    return stride(from: bytes.endIndex - needle.count, through: bytes.startIndex, by: -1).first {
      base[$0] == needle[0] && memcmp(base + $0, needle, needle.count) == 0
    }
  }

  /// The name and value if the line has four dots or more between them, as all of MDS's have.
  private static func entry(_ line: Substring) -> (String, String)? {
    let line = plain(line)
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

  /// Without a terminal's colours.
  private static func plain(_ line: Substring) -> Substring {
    guard line.contains("\u{1B}") else { return line }
    var result = ""
    var rest = line
    while let character = rest.popFirst() {
      guard character == "\u{1B}", rest.first == "[" else {
        result.append(character)
        continue
      }
      rest = rest.drop { !$0.isLetter }.dropFirst()
    }
    return result[...]
  }
}
