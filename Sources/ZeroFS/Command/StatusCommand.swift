import ArgumentParser
import Bytes
import Glibc
import Mount
import Store

/// `zerofs status`: the mounts of this machine.
struct StatusCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "status",
    abstract: "List the mounts of this machine: source, layout, bytes served, since when, daemon.")

  @Flag(help: "Print JSON.")
  var json = false

  private struct Line: Encodable {
    let path: String
    let source: String
    let layout: String?
    /// Bytes.
    let served: Int?
    /// Seconds since 1970.
    let since: Int?
    let process: Int32?
    let isServed: Bool
  }

  func run() throws {
    try reporting {
      let lines = MountStatus.all().map { mount in
        Line(
          path: mount.path, source: mount.source, layout: layout(mount), served: mount.served,
          since: mount.since, process: mount.process, isServed: mount.isServed)
      }
      if json { return try output(reportJSON(lines)) }
      guard !lines.isEmpty else { return try output("nothing is mounted") }
      try output(
        table(
          [["mount", "source", "layout", "served", "since", "daemon"]]
            + lines.map { line in
              [
                line.path.printable, line.source.printable, line.layout?.printable ?? "-",
                line.served?.bytesText ?? "-",
                line.since.map(time) ?? "-",
                line.isServed
                  ? line.process.map { "process \($0)" } ?? "serves"
                  : "died: zerofs umount \(line.path.printable)",
              ]
            }))
    }
  }

  /// What the mount itself says.
  private func layout(_ mount: MountStatus) -> String? {
    mount.isServed ? (try? Manifest.Origin.ofMount(mount.path))?.layout : nil
  }

  /// `2026-11-28 10:39`, of here.
  private func time(_ seconds: Int) -> String {
    var (moment, parts) = (time_t(seconds), tm())
    localtime_r(&moment, &parts)
    var text = [CChar](repeating: 0, count: 32)
    strftime(&text, text.count, "%Y-%m-%d %H:%M", &parts)
    return String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }
}
