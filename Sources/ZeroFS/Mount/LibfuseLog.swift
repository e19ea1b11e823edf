import Bytes
import CFuse
import Glibc

/// What libfuse and fusermount3 have to say, which they would print: kept for the message of the error that follows.
enum LibfuseLog {
  private static let lines = LockedValue<[String]>([])

  static func install() {
    fuse_set_log_func { level, format, arguments in
      guard let format, let arguments else { return }
      var buffer = [CChar](repeating: 0, count: 1024)
      vsnprintf(&buffer, buffer.count, format, arguments)
      LibfuseLog.append(buffer.withUnsafeBufferPointer { $0.baseAddress.map { String(cString: $0) } ?? "" })
    }
  }

  /// Runs `body` with stderr kept, too: fusermount3 has no other way to say why. No other thread may run yet.
  static func capturingStandardError<Result>(_ body: () -> Result) -> Result {
    let kept = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0)
    let memory = zerofs_memfd_create("fusermount3")
    guard kept >= 0, memory >= 0 else {
      close(kept)
      close(memory)
      return body()
    }
    dup2(memory, STDERR_FILENO)
    defer {
      dup2(kept, STDERR_FILENO)
      close(kept)
      var said = [UInt8](repeating: 0, count: 4096)
      let count = pread(memory, &said, said.count, 0)
      if count > 0 { append(String(decoding: said[..<count], as: UTF8.self)) }
      close(memory)
    }
    return body()
  }

  private static func append(_ text: String) {
    // Only a failing start is of interest; a daemon of months keeps no more than this.
    lines.withLock { if $0.count < 16 { $0.append(text) } }
  }

  static func take() -> String {
    let text = lines.withLock { lines in
      defer { lines = [] }
      return lines.joined(separator: "\n")
    }
    let words = text.split(separator: "\n").joined(separator: "; ")
    return words.isEmpty ? "libfuse gave no reason" : words
  }
}
