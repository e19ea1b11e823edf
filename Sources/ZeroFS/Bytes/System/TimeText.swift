import Glibc

/// A moment as strftime(3) writes it: at most 31 bytes.
///
/// - Parameters:
///   - seconds: since 1970.
///   - isLocal: in this machine's time zone rather than in UTC.
package func timeText(_ seconds: time_t, _ format: String, isLocal: Bool = false) -> String {
  var (moment, parts) = (seconds, tm())
  if isLocal { localtime_r(&moment, &parts) } else { gmtime_r(&moment, &parts) }
  var text = [CChar](repeating: 0, count: 32)
  let count = strftime(&text, text.count, format, &parts)
  return String(decoding: text[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
}
