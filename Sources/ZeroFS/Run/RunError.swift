import Bytes

/// A command line that doesn't fit the model.
package enum RunError: Failure, Equatable {
  case contradiction(argument: String, has: String, needs: String, otherwise: String)
  case optimizer(String)
  case unreadable(path: String, why: String)
  /// A script that starts no run, and what it starts.
  case noCommand(String, starts: [String])
  /// Commands with different arguments.
  case commands(String, lines: [Int])
  case log(String)
  /// A file that describes the run can't be read, or isn't of its kind.
  case file(option: String, path: String, why: String, instead: String)
  /// A flag of HF Trainer's.
  case trainingArgument(flag: String, value: String, expected: String)
  /// What the DeepSpeed configuration of HF Trainer asks for.
  case notServed(String, instead: String)

  package var exitStatus: ExitStatus {
    switch self {
    case .contradiction, .optimizer, .unreadable, .noCommand, .commands, .log, .file,
      .trainingArgument, .notServed:
      .run
    }
  }

  package var description: String {
    switch self {
    case .contradiction(let argument, let has, let needs, let otherwise):
      "--train-args: \(argument) is \(has), but this model and layout need \(needs); otherwise \(otherwise)."
    case .optimizer(let name):
      "--optimizer \(name): parameter groups of adam, adamw and --ds_fused_adam are served. Use one of them."
    case .unreadable(let path, let why):
      "\(path): \(why). --train-args takes a command line, or a file that holds one."
    case .noCommand(let program, let starts):
      "--train-args: no command with arguments of \(program)"
        + (starts.isEmpty ? "" : "; it starts \(starts.joined(separator: ", "))")
        + ". Give the script that starts it, the command line as the run prints it, or the run's log."
    case .commands(let program, let lines):
      "--train-args: commands of \(program) with different arguments on line \(lines.map(String.init).joined(separator: ", ")). "
        + "Give the command line of the one that is meant."
    case .log(let what):
      "--train-args: \(what). Give a log with all of it, or the run's command line."
    case .file(let option, let path, let why, let instead):
      "\(path): \(why). \(option) takes \(instead)."
    case .trainingArgument(let flag, let value, let expected):
      "--train-args: \(flag) is '\(value)', but needs \(expected)."
    case .notServed(let what, let instead):
      "--deepspeed-config: \(what) isn't served. Use \(instead)."
    }
  }
}
