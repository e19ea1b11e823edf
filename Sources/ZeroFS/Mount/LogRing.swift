import Bytes
import Logging

/// The last lines of a log, in memory: `.zerofs/log`.
final class LogRing: Sendable {
  private static let maxLine = 1000
  private let capacity: Int
  private let lines = LockedValue<[String]>([])

  /// - Parameter capacity: lines.
  init(capacity: Int = 256) { self.capacity = capacity }

  func append(_ line: String) {
    lines.withLock { lines in
      if lines.count == capacity { lines.removeFirst() }
      lines.append(line.count > LogRing.maxLine ? line.prefix(LogRing.maxLine) + "…" : line)
    }
  }

  /// Each line ends.
  var text: String { lines.withLock { lines in lines.reduce(into: "") { $0 += $1 + "\n" } } }
}
