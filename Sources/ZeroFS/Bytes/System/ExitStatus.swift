/// What the program's exit status says. 0 is success, 64 a wrong command line (ArgumentParser), 1 a bug.
package enum ExitStatus: Int32, Sendable, CaseIterable {
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
  /// zerofs doesn't know the model's family, whether or not MDS can express it.
  case family = 15
  /// A part of the tree is there, and nothing says that anyone writes the rest.
  case partial = 14
}

/// An error that a user may see: one line (what, where, why, what to do) and the program's exit status.
///
/// Every error type of the program is one (`make check` looks for others), and says its status by a `switch` without a default,
/// so that a new case doesn't compile until it has one.
package protocol Failure: Error, CustomStringConvertible {
  var exitStatus: ExitStatus { get }
}
