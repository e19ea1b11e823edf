import Testing

@testable import Bytes

@Suite struct TextTests {
  @Test(arguments: [
    ("weiß, naïve, 模型 👩‍🚀 \\", "weiß, naïve, 模型 👩‍🚀 \\"),
    ("x\n\u{1b}[31mzerofs: all is well", #"x\n\u{1b}[31mzerofs: all is well"#),
    ("a\tb\r\nc", #"a\tb\r\nc"#),
    ("\u{0}\u{7f}\u{9b}\u{2028}\u{2029}", #"\u{0}\u{7f}\u{9b}\u{2028}\u{2029}"#),
    ("\u{202e}txt.gnp\u{2066}", #"\u{202e}txt.gnp\u{2066}"#),
  ]) func printableIsOneLine(text: String, expected: String) {
    #expect(text.printable == expected)
  }
}
