import Bytes

/// Why a script can't be followed to the command that it starts.
package enum ShellError: Failure, Equatable {
  /// bash would refuse it, or it has what isn't followed.
  case syntax(Int, String)
  /// What happens there depends on what only the run knows.
  case unknown(Int, String)
  /// Steps or bytes.
  case tooLong(Int)

  package var exitStatus: ExitStatus {
    switch self {
    case .syntax, .unknown, .tooLong: .run
    }
  }

  package var description: String {
    let instead = "Give the command line itself, as the run prints it, or the run's log."
    return switch self {
    case .syntax(let line, let what): "--train-args: line \(line): \(what). \(instead)"
    case .unknown(let line, let what): "--train-args: line \(line): \(what). \(instead)"
    case .tooLong(let line):
      "--train-args: line \(line): the script runs on for longer, or makes longer texts, than zerofs follows. \(instead)"
    }
  }
}
