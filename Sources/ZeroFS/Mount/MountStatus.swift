import Bytes
import CFuse
import FoundationEssentials
import Glibc

/// A zerofs mount of this machine, as its mount table and the record of its daemon tell.
package struct MountStatus: Sendable {
  package let path: String
  package let source: String
  /// Of the daemon; `nil` where it died, or where the mount is another user's.
  package let process: pid_t?
  /// When the daemon began, in seconds since 1970.
  package let since: Int?
  /// What the daemon has written, in bytes: its answers, which are what was read through the mount. `nil` of another user's.
  package let served: Int?
  /// Whether reads are answered.
  package let isServed: Bool

  /// In the order in which they were mounted.
  package static func all() -> [MountStatus] {
    MountEntry.all().filter(\.isZerofs).map(MountStatus.init)
  }

  private init(_ entry: MountEntry) {
    (path, source) = (entry.point, entry.source)
    var statistics = statvfs()
    isServed = statvfs(entry.point, &statistics) == 0
    guard case .lives(let daemon) = MountRecord.find(entry.point, of: entry.user) else {
      (process, since, served) = (nil, nil, nil)
      return
    }
    process = daemon.identifier
    var status = stat()
    since = stat("/proc/\(daemon.identifier)", &status) == 0 ? status.st_mtim.tv_sec : nil
    served = MountStatus.written(by: daemon.identifier)
  }

  /// proc_pid_io(5): wchar.
  private static func written(by process: pid_t) -> Int? {
    let text = (try? String(contentsOfFile: "/proc/\(process)/io", encoding: .utf8)) ?? ""
    return text.split(separator: "\n").lazy.compactMap { String($0).dropping(prefix: "wchar: ") }.first
      .flatMap { Int($0) }
  }
}
