import Bytes

/// Where the tensors of one safetensors file are: the header, checked by the rules of huggingface/safetensors
/// (`safetensors/src/tensor.rs`: `SafeTensors::read_metadata`, `Metadata::validate`). A name that comes twice is refused, too:
/// the reference takes the last one, other readers the first.
package struct SafetensorsHeader: Sendable {
  package struct Tensor: Sendable, Equatable {
    /// As in the header: `BF16`. Not every dtype of the format can be served.
    package let dtype: String
    package let shape: [Int]
    /// In bytes of the file, not of its data section.
    package let offset: Int
  }

  package let tensors: [String: Tensor]

  /// Bytes of a header (`MAX_HEADER_SIZE`).
  private static let maxLength = 100_000_000

  /// - Throws: `SourceError`.
  package init(of file: any StoredFile) throws(SourceError) {
    let dataStart = try SafetensorsHeader.end(of: file)
    let text = try SafetensorsHeader.bytes(8..<dataStart, of: file)
    let entries: [Entry]
    do { entries = try SafetensorsHeader.entries(text) } catch {
      throw .malformedSafetensors(path: file.path, why: "in its header there is \(error)")
    }
    var tensors = [String: Tensor](minimumCapacity: entries.count)
    var end = 0
    for entry in entries.sorted(by: { ($0.begin, $0.end) < ($1.begin, $1.end) }) {
      func malformed(_ why: String) -> SourceError {
        .malformedSafetensors(path: file.path, why: "\(JSON.excerpt(entry.name)) \(why)")
      }
      let size = try entry.size(malformed)
      guard entry.end >= entry.begin && size == entry.end - entry.begin else {
        throw malformed(
          "is \(entry.dtype) \(entry.shape), \(size) bytes, but has data_offsets \([entry.begin, entry.end])")
      }
      guard entry.begin == end else { throw malformed("starts at byte \(entry.begin), not at \(end)") }
      guard entry.end <= Int.max - dataStart else { throw malformed("ends at byte \(entry.end)") }
      end = entry.end
      let tensor = Tensor(dtype: entry.dtype, shape: entry.shape, offset: dataStart + entry.begin)
      guard tensors.updateValue(tensor, forKey: entry.name) == nil else { throw malformed("is there twice") }
    }
    guard dataStart + end <= file.size else {
      throw .truncated(path: file.path, expectedBytes: dataStart + end, actualBytes: file.size)
    }
    guard dataStart + end == file.size else {
      throw .tooLong(path: file.path, expectedBytes: dataStart + end, actualBytes: file.size)
    }
    self.tensors = tensors
  }

  /// Where the header ends and the data starts.
  static func end(of file: any StoredFile) throws(SourceError) -> Int {
    func malformed(_ why: String) -> SourceError { .malformedSafetensors(path: file.path, why: why) }
    if let kind = ForeignFile(file) { throw .foreignFile(path: file.path, kind) }
    guard file.size >= 8 else {
      throw malformed("it has \(file.size) bytes, and the header's length alone takes 8")
    }
    let lengthBytes = try bytes(0..<8, of: file)
    let length = lengthBytes.withUnsafeBytes { UInt64(littleEndian: $0.loadUnaligned(as: UInt64.self)) }
    // The number isn't shown: it is content of a file that may be any.
    guard length <= maxLength else { throw malformed("its first 8 bytes are no length of a header") }
    let dataStart = 8 + Int(length)
    guard dataStart <= file.size else {
      throw .truncated(path: file.path, expectedBytes: dataStart, actualBytes: file.size)
    }
    return dataStart
  }

  private static func bytes(_ range: Range<Int>, of file: any StoredFile) throws(SourceError) -> [UInt8] {
    do { return try file.bytes(range) } catch { throw .unreadable(error) }
  }
}

extension SafetensorsHeader {
  /// A tensor as the header has it; `begin` and `end` in bytes of the data section.
  private struct Entry {
    let name: String
    let dtype: String
    let shape: [Int]
    let begin: Int
    let end: Int

    /// In bytes.
    func size(_ malformed: (String) -> SourceError) throws(SourceError) -> Int {
      guard var bits = SafetensorsHeader.bits[dtype] else {
        throw malformed("has dtype \(JSON.excerpt(dtype)), which the format doesn't know")
      }
      // From the left, as the reference: a zero behind doesn't undo an overflow.
      var count = 1
      for dimension in shape {
        let (product, overflow) = count.multipliedReportingOverflow(by: dimension)
        guard !overflow else { throw malformed("has shape \(shape), whose size overflows") }
        count = product
      }
      let (product, overflow) = bits.multipliedReportingOverflow(by: count)
      guard !overflow else { throw malformed("has shape \(shape), whose size overflows") }
      bits = product
      guard bits.isMultiple(of: 8) else { throw malformed("is \(dtype) \(shape), which ends inside a byte") }
      return bits / 8
    }
  }

  /// Bits per element of every dtype of the format (`Dtype::bitsize`).
  private static let bits = [
    "BOOL": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8,
    "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32,
    "F32": 32, "C64": 64, "F64": 64, "I64": 64, "U64": 64,
  ]

  private static func entries(_ text: [UInt8]) throws(JSONError) -> [Entry] {
    var reader = JSONReader(text, .strict)
    var entries: [Entry] = []
    var hasMetadata = false
    try reader.object { name, reader throws(JSONError) in
      if name != "__metadata__" {
        do throws(JSONError) { return entries.append(try entry(name, &reader)) } catch {
          throw JSONError(offset: error.offset, what: "\(error.what) in \(JSON.excerpt(name))")
        }
      }
      if hasMetadata { throw reader.error("a second __metadata__") }
      hasMetadata = true
      if !reader.takesNull() { try reader.object { _, reader throws(JSONError) in _ = try reader.string() } }
    }
    try reader.end()
    return entries
  }

  /// Members of other names are skipped, as the reference skips them.
  private static func entry(_ name: String, _ reader: inout JSONReader) throws(JSONError) -> Entry {
    var dtype: String?
    var shape: [Int]?
    var offsets: [Int]?
    let missing = reader.error("an entry without dtype, shape or data_offsets")
    try reader.object { member, reader throws(JSONError) in
      switch member {
      case "dtype":
        guard dtype == nil else { throw reader.error("a second dtype") }
        dtype = try reader.string()
      case "shape":
        guard shape == nil else { throw reader.error("a second shape") }
        shape = try reader.counts()
      case "data_offsets":
        guard offsets == nil else { throw reader.error("a second data_offsets") }
        let wrongCount = reader.error("a list of data_offsets that aren't two")
        offsets = try reader.counts()
        guard offsets?.count == 2 else { throw wrongCount }
      default: _ = try reader.value()
      }
    }
    guard let dtype, let shape, let offsets else { throw missing }
    return Entry(name: name, dtype: dtype, shape: shape, begin: offsets[0], end: offsets[1])
  }
}
