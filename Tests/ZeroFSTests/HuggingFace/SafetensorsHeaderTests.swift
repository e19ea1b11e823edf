import Testing

@testable import Bytes
@testable import HuggingFace

@Suite struct SafetensorsHeaderTests {
  private func header(_ contents: [UInt8]) throws -> SafetensorsHeader {
    let directory = try TemporaryDirectory()
    return try SafetensorsHeader(of: SourceFile(path: try directory.write("model.safetensors", contents)))
  }

  @Test func tensors() throws {
    let text =
      #"{"__metadata__":{"format":"pt"},"b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]},"#
      + #""a":{"dtype":"BF16","shape":[1,2],"data_offsets":[0,4]}}  "#
    let tensors = try header(safetensors(header: text, data: [UInt8](repeating: 0, count: 8))).tensors
    #expect(tensors["a"] == .init(dtype: "BF16", shape: [1, 2], offset: 8 + text.utf8.count))
    #expect(tensors["b"] == .init(dtype: "F32", shape: [1], offset: 12 + text.utf8.count))
    #expect(tensors.count == 2)
  }

  @Test(
    arguments: [
      ("it has 3 bytes", [1, 2, 3]),
      ("no length of a header", [255, 255, 255, 255, 255, 255, 255, 255]),
      ("no { at byte 0", safetensors(header: "[]")),
      ("no {, and the text ends in a at byte 5", safetensors(header: "{\"a\":")),
      (
        "without dtype, shape or data_offsets in a at byte 5",
        safetensors(header: #"{"a":{"shape":[1],"data_offsets":[0,4]}}"#)
      ),
      (
        "data_offsets [4, 0]", safetensors(header: #"{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}"#)
      ),
      (
        "data_offsets that aren't two",
        safetensors(header: #"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0]}}"#)
      ),
      ("no count", safetensors(header: #"{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}"#)),
      (
        "is F32 [2], 8 bytes, but has data_offsets [0, 4]",
        safetensors(header: #"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}"#)
      ),
      (
        "overflows",
        safetensors(header: #"{"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,4]}}"#)
      ),
      (
        "starts at byte 8, not at 4",
        safetensors(
          header:
            #"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[8,12]}}"#
        )
      ),
      (
        "starts at byte 0, not at 4",
        safetensors(
          header:
            #"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#
        )
      ),
    ] as [(String, [UInt8])])
  func malformed(why: String, contents: [UInt8]) throws {
    let error = try #require(throws: SourceError.self) { try header(contents) }
    guard case .malformedSafetensors(_, let text) = error else {
      Issue.record("\(error)")
      return
    }
    #expect(text.contains(why))
  }

  @Test(arguments: [0, 3])
  func truncated(data: Int) throws {
    let text = #"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#
    let error = try #require(throws: SourceError.self) {
      try header(safetensors(header: text, data: [UInt8](repeating: 0, count: data)))
    }
    guard case .truncated(_, let expected, let actual) = error else {
      Issue.record("\(error)")
      return
    }
    #expect((expected, actual) == (12 + text.utf8.count, 8 + text.utf8.count + data))
  }

  @Test func moreThanTheHeaderDescribes() throws {
    let text = #"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#
    let error = try #require(throws: SourceError.self) {
      try header(safetensors(header: text, data: [UInt8](repeating: 0, count: 5)))
    }
    #expect("\(error)".contains("1 more than its header describes"), "\(error)")
    #expect(!"\(error)".contains("incomplete"))
  }

  /// The first eight bytes of a file that may be any are not shown.
  @Test func contentIsNotShown() throws {
    let error = try #require(throws: SourceError.self) { try header(Array("root:$y$secret:1:0".utf8)) }
    #expect(
      !"\(error)".contains(where: \.isNumber) || !"\(error)".contains("\(0x2479_243A_746F_6F72)"), "\(error)")
  }

  @Test func headerLongerThanTheFile() throws {
    let error = try #require(throws: SourceError.self) { try header([100, 0, 0, 0, 0, 0, 0, 0, 123]) }
    guard case .truncated(_, 108, 9) = error else {
      Issue.record("\(error)")
      return
    }
  }
}
