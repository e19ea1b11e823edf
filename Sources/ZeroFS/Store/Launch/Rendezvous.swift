import Bytes
import Glibc

/// Where the processes of a launcher wait for one another before any of them goes on: files in a directory that all nodes share.
///
/// What killed runs left there is harmless:
///
/// - Rank 0 begins with a new `call`. Each rank answers it with an empty file of its own; one that answered an old call sees it change,
///   and answers again.
/// - When all have answered, or one has failed, rank 0 writes the `verdict`. It names the answers that it has seen, so that nobody
///   takes an old one for its own.
package final class Rendezvous {
  private let root: OpenDirectory
  private let share: Share
  private let host: String
  private let fingerprint: String
  private let patience: Duration
  /// Tells this process from those that had its rank before.
  private let nonce = Rendezvous.random()
  /// Rank 0's call: its own, or the one that was answered last.
  private var call: String?

  private static let name = ".zerofs-run"

  /// - Parameters:
  ///   - directory: made where it isn't there yet.
  ///   - fingerprint: has to be the same for all; no `~` or `/`.
  ///   - host: this node's name, for messages.
  ///   - patience: how long to wait without hearing of another rank.
  /// - Throws: `TargetError`, `ReadError`.
  package init(
    in directory: String, _ share: Share, fingerprint: String, host: String,
    patience: Duration = .seconds(300)
  ) throws {
    for path in [directory, "\(directory)/\(Rendezvous.name)"] {
      guard mkdir(path, 0o777) == 0 || errno == EEXIST else { throw TargetError(path, errno: errno) }
    }
    root = try OpenDirectory(path: "\(directory)/\(Rendezvous.name)")
    (self.share, self.fingerprint, self.patience) = (share, fingerprint, patience)
    self.host = String(
      host.map { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "-" || $0 == ".") ? $0 : "_" }.prefix(64))
    if share.rank == 0 {
      for name in try root.names() { root.remove(name) }
      call = Rendezvous.random()
      try write(call!, "call")
    }
  }

  /// Returns when all ranks have come here.
  ///
  /// - Throws: `RendezvousError`, on every rank: another one failed, came with another fingerprint, or doesn't come.
  package func wait() throws {
    if share.rank == 0 { try collect(failure: nil) } else { try answer(failure: nil) }
  }

  /// Tells the others that this rank doesn't come.
  package func fail(_ message: String) {
    if share.rank == 0 { try? collect(failure: message) } else { try? answer(failure: message) }
  }

  // MARK: - Rank 0

  /// Waits for all, even if there is a failure: those who come later have to hear of it.
  private func collect(failure: String?) throws {
    var pause = Pause(patience)
    var failure = failure.map { RendezvousError.failed(Rendezvous.line($0)) }
    // Who has heard of a failure goes, and takes its answer along.
    var answers: [Int: Answer] = [:]
    while true {
      let new = try root.names().compactMap(Answer.init).filter {
        $0.call == call! && answers[$0.rank] == nil
      }
      for answer in new { answers[answer.rank] = answer }
      if let failed = new.first(where: \.isFailure) {
        failure = failure ?? .failed(read(failed.name).map(Rendezvous.line) ?? "rank \(failed.rank) failed")
      } else if let other = new.first(where: { $0.fingerprint != fingerprint }) {
        failure = failure ?? .failed("\(other.host) has another source or layout than \(host)")
      }
      let isComplete = answers.count == share.world - 1
      if !new.isEmpty { pause = Pause(failure == nil ? patience : min(patience, Rendezvous.grace)) }
      if isComplete || failure != nil && !new.isEmpty { try decide(failure, answers) }
      if isComplete { break }
      guard pause.sleep() else {
        failure = failure ?? missing(answers)
        try decide(failure, answers)
        break
      }
    }
    if let failure { throw failure }
  }

  /// How long those who come after a failure are waited for: some may have been killed.
  private static let grace = Duration.seconds(30)

  private func missing(_ answers: [Int: Answer]) -> RendezvousError {
    let first = (1..<share.world).first { answers[$0] == nil } ?? 0
    return .missing(rank: first, count: share.world - 1 - answers.count, path: root.path)
  }

  /// - Parameter failure: `nil` to go on.
  private func decide(_ failure: RendezvousError?, _ answers: [Int: Answer]) throws {
    let why = failure.map { "no \($0.description)" }
    try write(([call!, why ?? "go"] + answers.values.map(\.name)).joined(separator: "\n"), "verdict")
  }

  // MARK: - The others

  private func answer(failure: String?) throws {
    var pause = Pause(patience)
    var own: Answer?
    defer { if let own { root.remove(own.name) } }
    while true {
      if let called = read("call"), called != call {
        call = called
        if let own { root.remove(own.name) }
        own = Answer(
          call: called, rank: share.rank, nonce: nonce, fingerprint, host, isFailure: failure != nil)
        try write(failure ?? "", own!.name)
        pause = Pause(patience)
      }
      if let own, let verdict = read("verdict")?.split(separator: "\n"), verdict.count > 2,
        verdict[0] == call!, verdict[2...].contains(own.name[...])
      {
        if verdict[1] == "go" { return }
        throw RendezvousError.failed(String(verdict[1].dropFirst(3)))
      }
      guard pause.sleep() else { throw RendezvousError.missing(rank: 0, count: 1, path: root.path) }
    }
  }

  // MARK: - Files

  private static func line(_ text: String) -> String { text.split(separator: "\n").joined(separator: " ") }

  private func read(_ name: String) -> String? {
    (try? SourceFile.contents(of: "\(root.path)/\(name)")).map { String(decoding: $0, as: UTF8.self) }
  }

  /// Whole or not at all.
  private func write(_ text: String, _ name: String) throws(TargetError) {
    let partial = "partial-\(share.rank)-\(nonce)"
    let file = openat(root.descriptor, partial, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o666)
    guard file >= 0 else { throw TargetError("\(root.path)/\(name)", errno: errno) }
    let code = Array(text.utf8).withUnsafeBytes { writeAll($0, to: file) }
    close(file)
    guard code == nil, renameat(root.descriptor, partial, root.descriptor, name) == 0 else {
      let error = TargetError("\(root.path)/\(name)", errno: code ?? errno)
      root.remove(partial)
      throw error
    }
  }

  private static func random() -> String { String(UInt64.random(in: .min ... .max), radix: 16) }

  /// The name of a rank's file.
  private struct Answer {
    let name: String
    let call: String
    let rank: Int
    let fingerprint: Substring
    let host: Substring
    let isFailure: Bool

    init(call: String, rank: Int, nonce: String, _ fingerprint: String, _ host: String, isFailure: Bool) {
      let words = [call, "\(rank)", nonce, fingerprint, host, isFailure ? "failed" : "ready"]
      (name, self.call, self.rank) = (words.joined(separator: "~"), call, rank)
      (self.fingerprint, self.host, self.isFailure) = (fingerprint[...], host[...], isFailure)
    }

    init?(_ name: String) {
      let words = name.split(separator: "~", omittingEmptySubsequences: false)
      guard words.count == 6, let rank = Int(words[1]) else { return nil }
      (self.name, call, self.rank) = (name, String(words[0]), rank)
      (fingerprint, host, isFailure) = (words[3], words[4], words[5] == "failed")
    }
  }

  /// Longer and longer sleeps, for some time.
  private struct Pause {
    private var milliseconds = 10
    private let end: ContinuousClock.Instant

    init(_ patience: Duration) { end = .now + patience }

    /// False when the time is over.
    mutating func sleep() -> Bool {
      usleep(UInt32(milliseconds * 1000))
      milliseconds = min(milliseconds * 3 / 2 + 1, 500)
      return ContinuousClock.now < end
    }
  }
}

package enum RendezvousError: Failure {
  /// What the rank that failed said.
  case failed(String)
  case missing(rank: Int, count: Int, path: String)

  package var exitStatus: ExitStatus { .busy }
  package var description: String {
    switch self {
    case .failed(let message): message
    case .missing(let rank, let count, let path):
      "\(count) of the launcher's ranks, rank \(rank) among them, didn't come to \(path). All nodes have to share this directory; "
        + "it is in that of --save."
    }
  }
}
