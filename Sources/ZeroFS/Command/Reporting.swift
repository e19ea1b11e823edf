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
  let code = Array("\(text)\n".utf8).withUnsafeBytes { writeAll($0, to: STDOUT_FILENO) }
  if let code { throw OutputError(errno: code) }
}

/// Standard output can't be written.
struct OutputError: Failure {
  let errno: Int32

  var exitStatus: ExitStatus { .inputOutput }
  var description: String {
    "standard output can't be written: \(errnoMessage(errno)). Make room, or send it elsewhere."
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
