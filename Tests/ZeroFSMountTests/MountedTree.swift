import Bytes
import Foundation
import Testing

@testable import Mount
@testable import MountFixture

/// The result of a program that ran to its end.
struct Outcome {
  let status: Int32
  let output: String
}

/// The programs of this build.
func program(_ name: String) -> URL {
  URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent().appending(
    path: name)
}

func run(_ program: URL, _ arguments: [String]) throws -> Outcome {
  let child = try Child(program, arguments)
  let status = child.wait()
  return Outcome(status: status, output: child.output)
}

/// A process. Not Foundation's `Process`, which waits for daemons that its child leaves behind; and its output goes to a file,
/// since a pipe could be inherited by a daemon that another test starts.
final class Child {
  let identifier: pid_t
  private let outputPath = NSTemporaryDirectory() + "zerofs-output-\(UUID().uuidString)"

  init(_ program: URL, _ arguments: [String]) throws {
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_addopen(&actions, 1, outputPath, O_WRONLY | O_CREAT | O_APPEND, 0o600)
    posix_spawn_file_actions_adddup2(&actions, 1, 2)
    // Under nohup(1) these are ignored, and what is ignored is inherited.
    var signals = sigset_t()
    sigemptyset(&signals)
    for signal in [SIGHUP, SIGINT, SIGTERM] { sigaddset(&signals, signal) }
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    posix_spawnattr_setsigdefault(&attributes, &signals)
    posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGDEF))
    var argv = ([program.path] + arguments).map { strdup($0) } + [nil]
    defer { for argument in argv { free(argument) } }
    var identifier: pid_t = 0
    let code = posix_spawn(&identifier, program.path, &actions, &attributes, &argv, environ)
    try #require(code == 0, "\(program.path): \(errnoMessage(code))")
    self.identifier = identifier
  }

  deinit { unlink(outputPath) }

  var output: String { (try? String(contentsOfFile: outputPath, encoding: .utf8)) ?? "" }

  var hasEnded: Bool {
    var information = siginfo_t()
    return waitid(P_PID, id_t(identifier), &information, WEXITED | WNOHANG | WNOWAIT) == 0
      && information.si_signo == SIGCHLD
  }

  /// The exit status, or minus the signal.
  func wait() -> Int32 {
    var status: Int32 = 0
    while waitpid(identifier, &status, 0) < 0 && errno == EINTR {}
    return status & 0x7f == 0 ? status >> 8 & 0xff : -(status & 0x7f)
  }
}

/// A temporary directory with the sources of the fixture and a mount point; both go when the object does.
final class Scratch {
  let root: String
  var sources: String { root + "/sources" }
  var point: String { root + "/mount point" }
  var log: String { root + "/log" }

  init(bytes: Int = 4 << 20) throws {
    root = NSTemporaryDirectory() + "zerofs-\(UUID().uuidString)"
    for path in [sources, point] {
      try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }
    try Scratch.random(bytes).write(to: URL(fileURLWithPath: sources + "/a.bin"))
    try Scratch.random(100_000).write(to: URL(fileURLWithPath: sources + "/b.bin"))
  }

  deinit {
    while umount2(point, Int32(MNT_DETACH)) == 0 {}
    try? FileManager.default.removeItem(atPath: root)
  }

  static func random(_ count: Int) -> Data {
    var data = Data(count: count)
    data.withUnsafeMutableBytes { buffer in
      let words = buffer.bindMemory(to: UInt64.self)
      var generator = SplitMix(state: .random(in: 0 ... .max))
      for index in words.indices { words[index] = generator.next() }
    }
    return data
  }

  /// Mounts by the daemon, as `zerofs mount` does.
  func mount(_ arguments: String...) throws -> Outcome {
    try run(program("MountFixture"), [sources, point, "--log-file", log] + arguments)
  }

  func path(_ name: String) -> String { point + "/" + name }

  /// The process that serves the mount.
  func server() throws -> ServingProcess {
    guard case .lives(let process) = MountRecord.find(point) else {
      Issue.record("no process says that it serves \(point)")
      throw POSIXError(.ESRCH)
    }
    return process
  }

  var logged: String { (try? String(contentsOfFile: log, encoding: .utf8)) ?? "" }

  /// What the tree says, computed in this process.
  func tree() throws -> FileTree { try Fixture.tree(sources: sources) }
}

/// A scratch directory whose tree is mounted.
func mounted(_ arguments: String...) throws -> Scratch {
  let scratch = try Scratch()
  let outcome = try run(
    program("MountFixture"), [scratch.sources, scratch.point, "--log-file", scratch.log] + arguments)
  try #require(outcome.status == 0, "\(outcome.output)")
  return scratch
}

extension FileTree {
  func file(_ path: String) throws -> VirtualFile { try #require(entries.first { $0.path == path }).file() }
}

/// `pread` of a whole window; the errno of the first call that fails.
func read(_ path: String, _ window: Range<Int>) -> Result<[UInt8], POSIXError> {
  let descriptor = open(path, O_RDONLY)
  defer { close(descriptor) }
  var bytes = [UInt8](repeating: 0xAA, count: window.count)
  var done = 0
  while done < bytes.count {
    let count = bytes.withUnsafeMutableBytes {
      pread(descriptor, $0.baseAddress! + done, window.count - done, window.lowerBound + done)
    }
    if count < 0 { return .failure(POSIXError(POSIXErrorCode(rawValue: errno) ?? .EINVAL)) }
    if count == 0 { break }
    done += count
  }
  return .success(Array(bytes[..<done]))
}

/// Runs a script of sh(1); its arguments are `$1` and on.
func shell(_ script: String, _ arguments: String...) throws -> Outcome {
  try run(URL(fileURLWithPath: "/bin/sh"), ["-c", script, "sh"] + arguments)
}

func failure(_ path: String, _ window: Range<Int>) -> POSIXErrorCode? {
  if case .failure(let error) = read(path, window) { error.code } else { nil }
}

func attributes(_ path: String) -> stat? {
  var status = stat()
  return stat(path, &status) == 0 ? status : nil
}
