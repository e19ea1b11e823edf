import ArgumentParser
import Bytes
import Logging
import Mount

/// Runs the body of a subcommand; an error is one line on stderr and an exit status.
func reporting(_ body: () throws -> Void) throws {
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
