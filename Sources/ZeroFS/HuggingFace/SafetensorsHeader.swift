import Bytes
import FoundationEssentials

/// Where the tensors of one safetensors file are: the header, checked by the rules of huggingface/safetensors
/// (`safetensors/src/tensor.rs`: `SafeTensors::read_metadata`, `Metadata::validate`).
package struct SafetensorsHeader: Sendable {
  package struct Tensor: Sendable, Equatable {
    /// As in the header: `BF16`. Not every dtype of the format can be served.
    package let dtype: String
    package let shape: [Int]
    /// In bytes of the file, not of its data section.
    package let offset: Int
  }

  package let tensors: [String: Tensor]

  /// Longest header accepted, in bytes (`MAX_HEADER_SIZE`).
  private static let longest = 100_000_000

  // Names as in the file.
  // swift-format-ignore: AlwaysUseLowerCamelCase
  private struct Entry: Decodable {
    package let dtype: String
    package let shape: [Int]
    let data_offsets: [Int]
  }

  /// The header's members by name; `__metadata__` holds strings, everything else is a tensor.
  private struct Members: Decodable {
    var entries: [(name: String, entry: Entry)] = []

    struct Key: CodingKey {
      let stringValue: String
      var intValue: Int? { nil }
      init(stringValue: String) { self.stringValue = stringValue }
      init?(intValue: Int) { nil }
    }

    init(from decoder: any Decoder) throws {
      let members = try decoder.container(keyedBy: Key.self)
      for key in members.allKeys where key.stringValue != "__metadata__" {
        do {
          entries.append((key.stringValue, try members.decode(Entry.self, forKey: key)))
        } catch let error where !(error is DecodingError) {
          // A number that doesn't fit comes as an error of the parser's own, without its place.
          throw DecodingError.dataCorrupted(.init(codingPath: [key], debugDescription: "\(error)"))
        }
      }
    }
  }

  /// Where the header ends and the data starts.
  static func end(of file: any StoredFile) throws(SourceError) -> Int {
    let path = file.path
    func malformed(_ why: String) -> SourceError { .malformedSafetensors(path: path, why: why) }
    guard file.size >= 8 else {
      throw malformed("it has \(file.size) bytes, and the header's length alone takes 8")
    }
    let lengthBytes = try SafetensorsHeader.bytes(0..<8, of: file)
    let length = lengthBytes.withUnsafeBytes { UInt64(littleEndian: $0.loadUnaligned(as: UInt64.self)) }
    guard length <= SafetensorsHeader.longest else {
      throw malformed("its header would be \(length) bytes long")
    }
    let dataStart = 8 + Int(length)
    guard dataStart <= file.size else {
      throw .truncated(path: path, expectedBytes: dataStart, actualBytes: file.size)
    }
    return dataStart
  }

  package init(of file: any StoredFile) throws(SourceError) {
    let path = file.path
    func malformed(_ why: String) -> SourceError { .malformedSafetensors(path: path, why: why) }
    let dataStart = try SafetensorsHeader.end(of: file)
    let text = try SafetensorsHeader.bytes(8..<dataStart, of: file)
    guard text.first == UInt8(ascii: "{") else { throw malformed("its header does not start with {") }
    let members: Members
    do { members = try JSONDecoder().decode(Members.self, from: Data(text)) } catch {
      throw malformed("its header is not the JSON it should be (\(decodingProblem(error)))")
    }
    var tensors: [String: Tensor] = [:]
    var ranges: [(begin: Int, end: Int, name: String)] = []
    for (name, entry) in members.entries {
      let offsets = entry.data_offsets
      guard offsets.count == 2, offsets[0] >= 0, offsets[0] <= offsets[1], entry.shape.allSatisfy({ $0 >= 0 })
      else {
        throw malformed("\(name) has data_offsets \(offsets) and shape \(entry.shape)")
      }
      if let dtype = DType(rawValue: entry.dtype) {
        var size = dtype.size
        for dimension in entry.shape {
          let (product, overflow) = size.multipliedReportingOverflow(by: dimension)
          guard !overflow else { throw malformed("the size of \(name), shape \(entry.shape), overflows") }
          size = product
        }
        guard size == offsets[1] - offsets[0] else {
          throw malformed(
            "\(name) is \(entry.dtype) \(entry.shape), \(size) bytes, but has \(offsets[1] - offsets[0])")
        }
      }
      guard offsets[1] <= Int.max - dataStart else { throw malformed("\(name) has data_offsets \(offsets)") }
      tensors[name] = Tensor(dtype: entry.dtype, shape: entry.shape, offset: dataStart + offsets[0])
      ranges.append((offsets[0], offsets[1], name))
    }
    var end = 0
    for range in ranges.sorted(by: { ($0.begin, $0.end) < ($1.begin, $1.end) }) {
      guard range.begin == end else {
        throw malformed("\(range.name) starts at byte \(range.begin), not at \(end)")
      }
      end = range.end
    }
    guard dataStart + end == file.size else {
      throw .truncated(path: path, expectedBytes: dataStart + end, actualBytes: file.size)
    }
    self.tensors = tensors
  }

  private static func bytes(_ range: Range<Int>, of file: any StoredFile) throws(SourceError) -> [UInt8] {
    do {
      return try file.bytes(range)
    } catch {
      throw .unreadable(path: file.path, why: error.reason)
    }
  }
}
