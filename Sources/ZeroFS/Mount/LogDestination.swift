import Bytes
import Glibc
import Logging

/// Where a mount logs to. A daemon has no terminal: it logs to syslog or to a file.
package enum LogDestination: Equatable, Sendable {
  case standardError
  case syslog
  case file(path: String)

  /// A logger that writes there, one line for each message.
  package func logger() throws(MountError) -> Logger { try logger(keptIn: nil) }

  /// Likewise, with the last lines in `ring`, too.
  func logger(keptIn ring: LogRing?) throws(MountError) -> Logger {
    let descriptor: Int32?
    switch self {
    case .standardError: descriptor = STDERR_FILENO
    case .syslog: descriptor = nil
    case .file(let path):
      let opened = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o644)
      guard opened >= 0 else { throw .logUnwritable(path: path, errno: errno) }
      descriptor = opened
    }
    return Logger(label: "zerofs") { _ in LineLogHandler(descriptor: descriptor, ring: ring) }
  }
}

/// Writes `zerofs: message`, by one write(2) so that lines of threads don't mix; without a descriptor to syslog(3).
private struct LineLogHandler: LogHandler {
  let descriptor: Int32?
  let ring: LogRing?
  var logLevel: Logger.Level = .info
  var metadata: Logger.Metadata = [:]

  subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { metadata[key] }
    set { metadata[key] = newValue }
  }

  func log(event: LogEvent) {
    // Names and JSON of other people's are in it.
    let message = "\(event.message)".printable
    ring?.append(Self.now + message)
    if let descriptor {
      let line = "\(descriptor == STDERR_FILENO ? "" : Self.now)zerofs: \(message)\n"
      _ = line.utf8.withContiguousStorageIfAvailable { write(descriptor, $0.baseAddress, $0.count) }
    } else {
      message.withCString { message in
        withVaList([message]) { vsyslog(Self.priority(event.level) | LOG_DAEMON, "%s", $0) }
      }
    }
  }

  /// A file needs the time; a terminal and syslog don't.
  private static var now: String { timeText(time(nil), "%Y-%m-%dT%H:%M:%SZ ") }

  private static func priority(_ level: Logger.Level) -> Int32 {
    switch level {
    case .trace, .debug: LOG_DEBUG
    case .info: LOG_INFO
    case .notice: LOG_NOTICE
    case .warning: LOG_WARNING
    case .error: LOG_ERR
    case .critical: LOG_CRIT
    }
  }
}
