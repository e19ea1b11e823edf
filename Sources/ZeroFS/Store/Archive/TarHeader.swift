import Bytes

/// The 512 bytes in front of a tar member (POSIX ustar; sizes of 8 GiB and more as GNU tar writes them, in binary).
struct TarHeader: Equatable {
  let name: String
  /// Bytes of the member.
  let size: Int
  var mode = 0o644
  /// Seconds since 1970.
  var modified = 0

  static let blockCount = 512
  /// Two blocks of zeros.
  static let end = [UInt8](repeating: 0, count: 2 * blockCount)

  /// Zeros behind a member, up to the next block.
  static func padding(_ size: Int) -> Int { (blockCount - size % blockCount) % blockCount }

  /// Where a field is in the header (POSIX `pax`, "ustar Interchange Format"). A number has an octal digit less than bytes.
  private enum Field {
    static let name = 0..<100
    static let mode = 100..<108
    static let uid = 108..<116
    static let gid = 116..<124
    static let size = 124..<136
    static let modified = 136..<148
    static let checksum = 148..<156
    static let type = 156..<157
    static let magic = 257..<263
    static let version = 263..<265
    static let prefix = 345..<500
  }

  /// - Throws: `ArchiveError.name` for a name that is too long: 100 bytes below its directory.
  var bytes: [UInt8] {
    get throws(ArchiveError) {
      let (directory, file) = splitPath(name)
      guard file.utf8.count <= Field.name.count, directory.utf8.count <= Field.prefix.count else {
        throw .name(name)
      }
      var header = [UInt8](repeating: 0, count: Self.blockCount)
      func put(_ text: some StringProtocol, _ field: Range<Int>) {
        header.replaceSubrange(field.prefix(text.utf8.count), with: text.utf8)
      }
      func put(_ number: Int, _ field: Range<Int>) {
        put(String(number, digits: field.count - 1, radix: 8), field)
      }
      put(file, Field.name)
      put(mode, Field.mode)
      put(0, Field.uid)
      put(0, Field.gid)
      if size < 1 << 33 {
        put(size, Field.size)
      } else {
        header.replaceSubrange(Field.size, with: [0x80, 0, 0, 0] + size.littleEndianBytes.reversed())
      }
      put(max(0, modified), Field.modified)
      put("0", Field.type)
      put("ustar", Field.magic)
      put("00", Field.version)
      put(directory.dropLast(), Field.prefix)
      // The sum of all bytes, with blanks for its own.
      put("        ", Field.checksum)
      put(String(header.reduce(0) { $0 + Int($1) }, digits: 6, radix: 8) + "\0 ", Field.checksum)
      return header
    }
  }

  /// The header that `member` starts with; `nil` if its checksum or a number is wrong, as tar finds it.
  init?(_ member: some Collection<UInt8>) {
    let header = Array(member.prefix(Self.blockCount))
    guard header.count == Self.blockCount else { return nil }
    func text(_ field: Range<Int>) -> String {
      String(decoding: header[field].prefix { $0 != 0 }, as: UTF8.self)
    }
    // Blanks may stand behind a number.
    func number(_ field: Range<Int>) -> Int? {
      if header[field.lowerBound] != 0x80 {
        return UInt(text(field).filter { $0 != " " }, radix: 8).flatMap(Int.init(exactly:))
      }
      let value = header[field].suffix(8).reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
      return Int(exactly: value)
    }
    let blanks = header[Field.checksum].reduce(8 * 32) { $0 - Int($1) }
    guard number(Field.checksum) == header.reduce(blanks, { $0 + Int($1) }), let size = number(Field.size),
      let mode = number(Field.mode), let modified = number(Field.modified)
    else { return nil }
    let directory = text(Field.prefix)
    self.init(
      name: directory.isEmpty ? text(Field.name) : "\(directory)/\(text(Field.name))", size: size, mode: mode,
      modified: modified)
  }

  init(name: String, size: Int, mode: Int = 0o644, modified: Int = 0) {
    (self.name, self.size, self.mode, self.modified) = (name, size, mode, modified)
  }
}
