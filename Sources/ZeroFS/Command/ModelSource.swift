import ArgumentParser
import Bytes
import Glibc
import HuggingFace
import Store

/// What a command's first argument names: a model directory, or an archive of one, which brings options along.
struct ModelSource {
  let files: any ModelFiles
  let directory: HuggingFaceDirectory
  /// Options of the checkpoint that an archive was made for.
  private let recorded: [String]

  init(path: String) throws {
    var status = stat()
    if stat(path, &status) == 0, status.isRegularFile {
      let archive = try ModelArchive(path: path)
      (files, recorded) = (archive, archive.options)
    } else {
      (files, recorded) = (try DiskDirectory(path), [])
    }
    directory = try HuggingFaceDirectory(files)
  }

  /// The options of `command`, with those of an archive in front.
  func options(of command: some CheckpointCommand) throws -> CheckpointOptions {
    try .joined(recorded, command)
  }
}

/// A subcommand that takes a model and options of its checkpoint.
protocol CheckpointCommand: ParsableCommand {
  var options: CheckpointOptions { get }
}

extension CheckpointOptions {
  /// Recorded options with those of `command` behind them, so that what the user gives wins.
  static func joined<Command: CheckpointCommand>(_ recorded: [String], _ command: Command) throws
    -> CheckpointOptions
  {
    if recorded.isEmpty { return command.options }
    return try Command.parse(recorded + CommandLine.arguments.dropFirst(2)).options
  }
}
