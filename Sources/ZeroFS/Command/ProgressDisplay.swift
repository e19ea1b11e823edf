import Bytes
import FoundationEssentials
import Glibc
import Store

/// Shows how far a long work is: on a terminal a bar, else a line every ten seconds, on stderr; or JSON, an object a line, on
/// stdout.
struct ProgressDisplay: Sendable {
  let json: Bool
  private let start = ContinuousClock.now

  init(json: Bool) { self.json = json }

  /// A line of JSON. Bytes of data leave out holes.
  private struct Event: Encodable {
    let event: String
    var rank: Int?
    var world: Int?
    /// The variables that say so.
    var variables: [String]?
    var files: Int?
    var bytes: Int?
    var dataBytes: Int?
    var totalDataBytes: Int?
    var keptFiles: Int?
    var treeBytes: Int?
    var bytesPerSecond: Double?
    var seconds: Double?
    var secondsLeft: Double?
    var complete: Bool?
  }

  /// What is written.
  struct Summary {
    let target: String
    let files: Int
    let bytes: Int
    /// Bytes to go through: holes left out; of an archive, the model's.
    let dataBytes: Int
    /// Files that were there already.
    var keptFiles = 0
    /// Of an archive: bytes of the tree that it stands for.
    var treeBytes: Int?

    var text: String {
      let size = "\(files) file\(files == 1 ? "" : "s"), \(bytes.bytesText)"
      guard let treeBytes else { return size + " (\(dataBytes.bytesText) without holes)" }
      let ratio = Double(treeBytes) / Double(max(bytes, 1))
      return size
        + " for a tree of \(treeBytes.bytesText), \((ratio * 10).rounded() / 10) times as large"
    }
  }

  /// Says which share of the work a launcher gave this process, and how it knows.
  func begin(_ launched: LaunchedShare, target: String) throws {
    if json {
      try emit(
        Event(
          event: "share", rank: launched.share.rank, world: launched.share.world,
          variables: [launched.variables.rank, launched.variables.world]))
    }
    write("\(target): writing the share of \(launched)\n")
  }

  /// What would be done.
  ///
  /// - Throws: `OutputError`, as all that goes to stdout.
  func plan(_ summary: Summary, bytesPerSecond: Double?) throws {
    let seconds = bytesPerSecond.map { Double(summary.dataBytes) / $0 }
    if json {
      return try emit(event("plan", summary, bytesPerSecond: bytesPerSecond, seconds: seconds))
    }
    try output(
      summary.text + (summary.keptFiles > 0 ? "; \(summary.keptFiles) are there and would be compared" : ""))
    if let bytesPerSecond, let seconds {
      try output(
        "about \(duration(seconds)) at \(Int(bytesPerSecond).bytesText)/s, as a sample went; nothing was written"
      )
    } else {
      try output("how long it would take can't be measured there; nothing was written")
    }
  }

  /// Runs `body` and shows `progress` meanwhile.
  func showing<Result>(_ progress: ByteProgress, _ body: () throws -> Result) rethrows -> Result {
    let isTerminal = isatty(STDERR_FILENO) == 1
    let stop = StopSignal()
    let thread = PosixThread {
      let interval = json || !isTerminal ? 10.0 : 0.2
      while !stop.wait(seconds: interval) { show(progress, isTerminal) }
    }
    defer {
      stop.send()
      thread?.join()
      if isTerminal && !json { write("\r\u{1B}[K") }
    }
    return try body()
  }

  func finish(_ summary: Summary, isComplete: Bool) throws {
    let seconds = (ContinuousClock.now - start) / .seconds(1)
    if json { return try emit(event("done", summary, seconds: seconds, complete: isComplete)) }
    let rate = Double(summary.treeBytes ?? summary.bytes) / max(seconds, 1e-3)
    let kept = summary.keptFiles > 0 ? ", \(summary.keptFiles) of them there already" : ""
    write(
      "\(summary.target.printable): \(summary.text)\(kept); \(duration(seconds)), \(Int(rate).bytesText)/s\n")
    if !isComplete { write("other ranks have not finished: the last one writes zerofs-manifest.json\n") }
  }

  private func event(
    _ name: String, _ summary: Summary, bytesPerSecond: Double? = nil, seconds: Double?, complete: Bool? = nil
  ) -> Event {
    Event(
      event: name, files: summary.files, bytes: summary.bytes, dataBytes: summary.dataBytes,
      keptFiles: summary.keptFiles, treeBytes: summary.treeBytes, bytesPerSecond: bytesPerSecond,
      seconds: seconds,
      complete: complete)
  }

  private func show(_ progress: ByteProgress, _ isTerminal: Bool) {
    let seconds = (ContinuousClock.now - start) / .seconds(1)
    let (done, total) = (progress.doneBytes, progress.totalBytes)
    let rate = Double(done) / max(seconds, 1e-3)
    let left = rate > 0 ? Double(total - done) / rate : nil
    if json {
      // What is lost here is lost to the last event, too, which is an error then.
      return
        (try? emit(
          Event(
            event: "progress", dataBytes: done, totalDataBytes: total, bytesPerSecond: rate, secondsLeft: left
          ))) ?? ()
    }
    let percent = total == 0 ? 100 : done * 100 / total
    let text =
      "\(percent) %, \(done.bytesText) of \(total.bytesText), \(Int(rate).bytesText)/s"
      + (left.map { ", \(duration($0)) left" } ?? "")
    if !isTerminal { return write(text + "\n") }
    let filled = percent * 24 / 100
    let bar = String(repeating: "#", count: filled) + String(repeating: "-", count: 24 - filled)
    write("\r[\(bar)] \(text)\u{1B}[K")
  }

  private func emit(_ event: Event) throws {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys]
    try output(String(decoding: try encoder.encode(event), as: UTF8.self))
  }

  /// `3.4 s`, `2 min 5 s`, `1 h 20 min`.
  private func duration(_ seconds: Double) -> String {
    let whole = Int(seconds.rounded())
    if whole < 60 { return "\((seconds * 10).rounded() / 10) s" }
    return whole < 3600 ? "\(whole / 60) min \(whole % 60) s" : "\(whole / 3600) h \(whole / 60 % 60) min"
  }

  private func write(_ text: String) {
    var text = text
    // Nothing is left to say it to, if that fails.
    text.withUTF8 { _ = writeAll(UnsafeRawBufferPointer($0), to: STDERR_FILENO) }
  }
}

/// What a thread that waits for the next time to do something is ended by.
private final class StopSignal: Sendable {
  private let ends: (read: Int32, write: Int32)

  init() {
    var pipes: [Int32] = [-1, -1]
    pipe(&pipes)
    ends = (pipes[0], pipes[1])
  }

  deinit {
    close(ends.read)
    close(ends.write)
  }

  func send() { _ = write(ends.write, [1], 1) }

  /// Whether it was sent, after `seconds` at the latest.
  func wait(seconds: Double) -> Bool {
    var event = pollfd(fd: ends.read, events: Int16(POLLIN), revents: 0)
    return poll(&event, 1, Int32(seconds * 1000)) != 0
  }
}
