import ArgumentParser
import Glibc
import ZeroFS

/// What a command's first argument names: a model directory, or an archive of one, which brings options along.
struct ModelSource {
  let directory: HuggingFaceDirectory
  /// Options of the checkpoint that an archive was made for.
  private let recorded: [String]

  init(path: String) throws {
    var status = stat()
    if stat(path, &status) == 0, status.st_mode & S_IFMT == S_IFREG {
      let archive = try ModelArchive(path: path)
      (directory, recorded) = (try HuggingFaceDirectory(archive), archive.options)
    } else {
      (directory, recorded) = (try HuggingFaceDirectory(path: path), [])
    }
  }

  /// The options of `command` with those of the archive in front, so that what the user gives wins.
  func options<Command: CheckpointCommand>(of command: Command) throws -> CheckpointOptions {
    if recorded.isEmpty { return command.options }
    return try Command.parse(recorded + CommandLine.arguments.dropFirst(2)).options
  }
}

/// A subcommand that takes a model and options of its checkpoint.
protocol CheckpointCommand: ParsableCommand {
  var options: CheckpointOptions { get }
}
