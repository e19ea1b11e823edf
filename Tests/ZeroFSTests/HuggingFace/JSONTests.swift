import Testing

@testable import Bytes

@Suite struct JSONTests {
  private func read(_ text: String, _ dialect: JSONReader.Dialect = .python) throws -> JSON {
    var reader = JSONReader(Array(text.utf8), dialect)
    return try reader.document()
  }

  @Test func values() throws {
    let json = try read(#" {"a":[1,-2.5e3,true,null,"x"],"b":{"c":"d"}} "#)
    #expect(json["a"]?.elements == [.int(1), .double(-2500), .bool(true), .null, .string("x")])
    #expect(json["b"]?["c"] == .string("d"))
    #expect(json.members?.all.map(\.name) == ["a", "b"])
  }

  @Test func numbersOfPython() throws {
    #expect(try read("NaN").number?.isNaN == true)
    #expect(try read("[-Infinity,Infinity]").elements == [.double(-.infinity), .double(.infinity)])
    #expect(try read("1e400") == .double(.infinity))
    #expect(try read("9223372036854775807") == .int(.max))
    #expect(try read("9223372036854775808") == .bigInteger("9223372036854775808"))
    #expect(try read("-12345678901234567890123").number == -1.2345678901234568e22)
    #expect(throws: JSONError.self) { try read(String(repeating: "1", count: 4301)) }
  }

  @Test func texts() throws {
    #expect(try read(#""\u00e9\ud83d\ude00\n\/\"""#) == .string("é😀\n/\""))
    #expect(try read(#""\ud800x""#) == .string("\u{FFFD}x"))
    #expect(try read(#""\ud800\u0041""#) == .string("\u{FFFD}A"))
    #expect(throws: JSONError.self) { try read(#""\ud800x""#, .strict) }
  }

  @Test func ofTwoMembersTheLastCounts() throws {
    for others in [0, 40] {
      let filler = (0..<others).map { #","x\#($0)":0"# }.joined()
      var reader = JSONReader(Array(#"{"a":1\#(filler),"a":2,"b":3}"#.utf8))
      let json = try reader.document()
      #expect((json["a"], json["b"]) == (.int(2), .int(3)))
      #expect(reader.duplicates == ["a"])
    }
  }

  @Test(arguments: [
    ("", "no value, and the text ends at byte 0"), ("[1,]", "no value at byte 3"),
    (#"{"a" 1}"#, "no : behind a name at byte 5"),
    ("[1 2]", "neither , nor ] at byte 3"), ("01", "not a number at byte 0"),
    ("1.", "not a number at byte 0"),
    ("-", "not a number at byte 0"), ("+1", "no value at byte 0"),
    ("{} x", "more behind the end of the value at byte 3"),
    (#"["a"#, "a text without an end at byte 1"), ("\"\t\"", "a control character in a text at byte 1"),
    (#""\x""#, "no escape sequence at byte 1"), (#""\u00g0""#, "no hexadecimal digit at byte 5"),
    ("nul", "no value at byte 0"),
    ("{1:2}", "no name of a member at byte 1"),
  ])
  func malformed(text: String, error: String) throws {
    #expect(try #require(throws: JSONError.self) { try read(text) }.description == error)
  }

  @Test func strictness() throws {
    for text in ["NaN", "Infinity", "-Infinity"] {
      #expect(throws: JSONError.self) { try read(text, .strict) }
    }
    #expect(throws: JSONError.self) { try read(String(repeating: "[", count: 128), .strict) }
    #expect(throws: JSONError.self) { try read(String(repeating: "[", count: 1_000_000)) }
    #expect(throws: JSONError.self) { try JSON([0x22, 0xFF, 0x22]) }
  }

  @Test func excerptsCannotMoveACursor() {
    #expect(JSON.string("a\u{1B}[2J\nb\u{202E}").excerpt == #""a\u{1b}[2J\u{a}b\u{202e}""#)
    #expect(JSON.excerpt(String(repeating: "x", count: 100)).count == 81)
  }
}
