/// The 512 bytes in front of a tar member (POSIX ustar; sizes of 8 GiB and more as GNU tar writes them, in binary).
enum TarHeader {
  static let blockCount = 512
  /// Two blocks of zeros.
  static let end = [UInt8](repeating: 0, count: 2 * blockCount)

  /// Zeros behind a member, up to the next block.
  static func padding(_ size: Int) -> Int { (blockCount - size % blockCount) % blockCount }

  /// `nil` for a name that is too long: 100 bytes below its directory.
  static func bytes(name: String, size: Int, mode: Int, modified: Int) -> [UInt8]? {
    let (directory, file) = TargetFile.split(name)
    guard file.utf8.count <= 100, directory.utf8.count <= 155 else { return nil }
    var header = [UInt8](repeating: 0, count: blockCount)
    func put(_ text: some StringProtocol, _ offset: Int) {
      header.replaceSubrange(offset..<(offset + text.utf8.count), with: text.utf8)
    }
    func octal(_ value: Int, _ digits: Int) -> String {
      let text = String(value, radix: 8)
      return String(repeating: "0", count: max(0, digits - text.count)) + text
    }
    put(file, 0)
    put(octal(mode, 7), 100)
    put(octal(0, 7), 108)
    put(octal(0, 7), 116)
    if size < 1 << 33 {
      put(octal(size, 11), 124)
    } else {
      header[124] = 0x80
      for byte in 0..<8 { header[135 - byte] = UInt8(truncatingIfNeeded: size >> (8 * byte)) }
    }
    put(octal(max(0, modified), 11), 136)
    put("        ", 148)
    put("0", 156)
    put("ustar", 257)
    put("00", 263)
    put(directory.dropLast(), 345)
    put(octal(header.reduce(0) { $0 + Int($1) }, 6) + "\0 ", 148)
    return header
  }
}
