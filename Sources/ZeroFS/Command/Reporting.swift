import ArgumentParser
import Bytes
import Glibc
import Logging
import Mount

/// Runs the body of a subcommand; an error is one line on stderr and an exit status.
func reporting(_ body: () throws -> Void) throws {
  // A write beyond RLIMIT_FSIZE is EFBIG, not the end of the program.
  signal(SIGXFSZ, SIG_IGN)
  do { try body() } catch let error as any Failure {
    try LogDestination.standardError.logger().error("\(error.description)")
    throw ExitCode(error.exitStatus.rawValue)
  }
}

/// Things that are served as asked and may still surprise, on stderr.
func warn(_ warnings: [String]) {
  guard !warnings.isEmpty, let logger = try? LogDestination.standardError.logger() else { return }
  for warning in warnings { logger.warning("warning: \(warning)") }
}

/// What a command was asked for, on stdout: the one place that writes there.
///
/// - Throws: `OutputError` where it can't be written; who asked for it doesn't have it.
func output(_ text: String) throws(OutputError) {
  try output(text, to: STDOUT_FILENO, named: "standard output")
}

/// A line of names, as files and manifests have them: it stays one, whatever they hold.
func output(line: String) throws(OutputError) { try output(line.printable) }

/// A text in a file, which is replaced.
func output(_ text: String, to path: String) throws(OutputError) {
  let file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
  guard file >= 0 else { throw OutputError(name: path, errno: errno) }
  defer { close(file) }
  try output(text, to: file, named: path)
}

private func output(_ text: String, to file: Int32, named name: String) throws(OutputError) {
  let code = Array("\(text)\n".utf8).withUnsafeBytes { writeAll($0, to: file) }
  if let code { throw OutputError(name: name, errno: code) }
}

/// Standard output, or a file that was asked for, can't be written.
struct OutputError: Failure {
  let name: String
  let errno: Int32

  var exitStatus: ExitStatus { .inputOutput }
  var description: String {
    "\(name) can't be written: \(errnoMessage(errno)). Make room, or send it elsewhere."
  }
}

/// Checks the value of `--jobs`.
///
/// - Throws: `ValidationError`.
func validate(jobs: Int?) throws {
  guard let jobs, !Workers.allowed.contains(jobs) else { return }
  throw ValidationError(
    "--jobs \(jobs): from \(Workers.allowed.lowerBound) to \(Workers.allowed.upperBound).")
}
