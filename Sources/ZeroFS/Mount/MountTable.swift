import Bytes
import Glibc

/// A line of `/proc/self/mountinfo` (proc_pid_mountinfo(5)):
///
///     36 35 98:0 /root /mount/point rw,noatime shared:1 - fuse.zerofs /models/llama ro,…
package struct MountEntry: Equatable {
  package let point: String
  let type: String
  package let source: String
  /// Who mounted it (`user_id=`), where it is FUSE's.
  let user: uid_t

  package var isZerofs: Bool { type == "fuse.zerofs" }

  /// `nil` for a line that isn't one.
  init?(line: Substring) {
    // The optional fields end at a lone dash.
    let fields = line.split(separator: " ")
    guard fields.count > 6, let dash = fields[6...].firstIndex(of: "-"), dash + 2 < fields.count else {
      return nil
    }
    point = MountEntry.unescape(fields[4])
    type = MountEntry.unescape(fields[dash + 1])
    source = MountEntry.unescape(fields[dash + 2])
    let user = fields.last?.split(separator: ",").lazy.compactMap { String($0).dropping(prefix: "user_id=") }
      .first
    self.user = user.flatMap { uid_t($0) } ?? 0
  }

  /// What is mounted at `path` (absolute, without symbolic links), the topmost where there are several.
  package static func at(_ path: String) -> MountEntry? { all().last { $0.isAt(path) } }

  static func count(at path: String) -> Int { all().count { $0.isAt(path) } }

  /// By bytes, as the kernel compares: strings of Swift are equal where only the composition of an accent differs.
  private func isAt(_ path: String) -> Bool { point.utf8.elementsEqual(path.utf8) }

  package static func all(table: String = "/proc/self/mountinfo") -> [MountEntry] {
    guard let file = fopen(table, "re") else { return [] }
    defer { fclose(file) }
    var mounts: [MountEntry] = []
    var line: UnsafeMutablePointer<CChar>?
    var capacity = 0
    defer { free(line) }
    while getline(&line, &capacity, file) > 0, let text = line {
      if let mount = MountEntry(line: String(cString: text).dropLast()) { mounts.append(mount) }
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
