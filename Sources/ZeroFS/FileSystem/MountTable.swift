import Glibc

/// A line of `/proc/self/mountinfo` (proc_pid_mountinfo(5)):
///
///     36 35 98:0 /root /mount/point rw,noatime shared:1 - fuse.zerofs /models/llama ro,…
struct Mount: Equatable {
  let point: String
  let type: String
  let source: String

  var isZerofs: Bool { type == "fuse.zerofs" }

  /// `nil` for a line that isn't one.
  init?(line: Substring) {
    // The optional fields end at a lone dash.
    let fields = line.split(separator: " ")
    guard fields.count > 6, let dash = fields[6...].firstIndex(of: "-"), dash + 2 < fields.count else {
      return nil
    }
    point = Mount.unescape(fields[4])
    type = Mount.unescape(fields[dash + 1])
    source = Mount.unescape(fields[dash + 2])
  }

  /// What is mounted at `path` (absolute, without symbolic links), the topmost where there are several.
  static func at(_ path: String) -> Mount? { all().last { $0.point == path } }

  static func all(table: String = "/proc/self/mountinfo") -> [Mount] {
    guard let file = fopen(table, "re") else { return [] }
    defer { fclose(file) }
    var mounts: [Mount] = []
    var line: UnsafeMutablePointer<CChar>?
    var capacity = 0
    defer { free(line) }
    while getline(&line, &capacity, file) > 0, let text = line {
      if let mount = Mount(line: String(cString: text).dropLast()) { mounts.append(mount) }
    }
    return mounts
  }

  /// Space, tab, newline and backslash are written as `\040`, `\011`, `\012` and `\134`.
  private static func unescape(_ field: Substring) -> String {
    var bytes: [UInt8] = []
    var rest = field.utf8
    while let byte = rest.popFirst() {
      let digits = rest.prefix(3)
      if byte == UInt8(ascii: "\\"), digits.count == 3, let code = UInt8(String(Substring(digits)), radix: 8)
      {
        bytes.append(code)
        rest = rest.dropFirst(3)
      } else {
        bytes.append(byte)
      }
    }
    return String(decoding: bytes, as: UTF8.self)
  }
}
