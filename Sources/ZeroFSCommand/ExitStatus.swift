import ArgumentParser
import ZeroFS

/// What the program's exit status says. 0 is success, 64 a wrong command line (ArgumentParser), 1 a bug.
enum ExitStatus: Int32 {
  /// MDS can't express the model.
  case model = 3
  /// The layout can't exist.
  case layout = 4
  /// The model directory is incomplete or malformed.
  case source = 5
  case mountpoint = 6
  case fuseUnavailable = 7
  case inputOutput = 8
  case busy = 9
  /// The run's command line contradicts the model or can't be read.
  case run = 10
  /// `materialize` can't write there: unwritable, or something else is in the way.
  case target = 11
  case diskFull = 12
  /// `verify` found a difference.
  case differs = 13

  init(_ error: MountError) {
    self =
      switch error {
      case .mountpointMissing, .mountpointNotDirectory, .mountpointNotEmpty, .mountpointUnreadable,
        .alreadyMounted,
        .deadMountRemains, .notMounted, .notZerofs:
        .mountpoint
      case .deviceUnavailable, .fusermountMissing, .mountFailed, .daemonKilled:
        .fuseUnavailable
      case .sessionFailed, .rootUnreadable, .daemonNotStarted, .logUnwritable, .unmountFailed:
        .inputOutput
      case .busy:
        .busy
      }
  }

  init(_ error: TargetError) {
    self =
      switch error {
      case .unwritable, .inTheWay: .target
      case .tooSmall, .full: .diskFull
      case .busy: .busy
      case .noSuchFiles, .share: .layout
      }
  }

  init(_ error: VerificationError) {
    self =
      switch error {
      case .noCheckpoint, .noModel: .source
      case .differs: .differs
      }
  }

  init(_ error: ReadError) {
    self = .inputOutput
  }
}

/// Runs the body of a subcommand; an error is one line on stderr and an exit status.
func reporting(_ body: () throws -> Void) throws {
  do {
    try body()
  } catch let error as ModelError {
    try fail(error, .model)
  } catch let error as LayoutError {
    try fail(error, .layout)
  } catch let error as MegatronFlavorError {
    try fail(error, .run)
  } catch let error as RunError {
    try fail(error, .run)
  } catch let error as MegatronArgumentError {
    try fail(error, .run)
  } catch let error as RandomStateError {
    try fail(error, .run)
  } catch let error as SourceError {
    try fail(error, .source)
  } catch let error as MountError {
    try fail(error, .init(error))
  } catch let error as ArchiveError {
    try fail(error, .source)
  } catch let error as VerificationError {
    try fail(error, .init(error))
  } catch let error as TorchFileError {
    try fail(error, .source)
  } catch let error as TargetError {
    try fail(error, .init(error))
  } catch let error as ReadError {
    try fail(error, .init(error))
  }
}

/// Things that are served as asked and may still surprise, on stderr.
func warn(_ warnings: [String]) {
  guard !warnings.isEmpty, let logger = try? LogDestination.standardError.logger() else { return }
  for warning in warnings { logger.warning("warning: \(warning)") }
}

private func fail(_ error: any Error & CustomStringConvertible, _ status: ExitStatus) throws -> Never {
  try LogDestination.standardError.logger().error("\(error.description)")
  throw ExitCode(status.rawValue)
}
