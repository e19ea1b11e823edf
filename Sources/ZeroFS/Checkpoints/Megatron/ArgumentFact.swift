import Bytes
import HuggingFace
import Run

/// An argument of MDS whose value the model or the layout decides.
package struct ArgumentFact: Sendable {
  /// What comes of another value.
  package enum Kind: String, Sendable, Encodable {
    /// MDS stops, or can't load the checkpoint.
    case stops
    /// It computes another model than the checkpoint's, without an error.
    case loss
    /// It trains this model, from a higher loss or with other rounding: a choice.
    case choice
  }

  /// How a run's value is held against this one.
  enum Bound: Sendable {
    case equal
    /// A number.
    case atMost, atLeast
  }

  /// The attribute of the Namespace.
  package let name: String
  /// What the user writes: `--hidden-size 64`; `no --num-experts` where the argument must be left out.
  package let flag: String
  package let value: ArgumentValue
  package let kind: Kind
  let bound: Bound
  /// What goes wrong with another value.
  package let otherwise: String
  /// Other arguments that come to the same.
  private let alternative: [String: ArgumentValue]

  init(
    _ name: String, _ flag: String, _ value: ArgumentValue, _ kind: Kind, bound: Bound = .equal,
    otherwise: String, alternative: [String: ArgumentValue] = [:]
  ) {
    (self.name, self.flag, self.value, self.kind) = (name, flag, value, kind)
    (self.bound, self.otherwise, self.alternative) = (bound, otherwise, alternative)
  }

  /// A flag with a number behind it.
  init(_ name: String, _ flag: String, number: Int, _ kind: Kind, otherwise: String) {
    self.init(name, "\(flag) \(number)", .int(number), kind, otherwise: otherwise)
  }

  /// A switch: `flag` turns it to `on`.
  init(_ name: String, _ flag: String, _ value: Bool, on: Bool = true, _ kind: Kind, otherwise: String) {
    self.init(name, value == on ? flag : "no \(flag)", .bool(value), kind, otherwise: otherwise)
  }

  var hasAlternative: Bool { !alternative.isEmpty }

  /// What the user has to write; empty where that is nothing.
  package var words: [String] {
    flag.hasPrefix("--") && bound == .equal ? flag.split(separator: " ").map(String.init) : []
  }

  /// Whether the run has to have this very value.
  package var isRequired: Bool { bound == .equal && kind != .choice }

  /// Whether the run comes to the same by other arguments.
  func isMetOtherwise(_ arguments: MegatronArguments) -> Bool {
    !alternative.isEmpty && alternative.allSatisfy { arguments[$0.key] ?? .none == $0.value }
  }

  /// Whether completed arguments have it so; of a bound, whether nothing exceeds it.
  func isMet(by arguments: MegatronArguments) -> Bool {
    let given = arguments[name] ?? .none
    switch bound {
    case .equal:
      // MDS's norms compute in fp32 (`megatron/model/rmsnorm.py`).
      return isMetOtherwise(arguments) || given.equals(value, inFloat32: name == "layernorm_epsilon")
    case .atMost, .atLeast:
      guard let given = given.asInt, let limit = value.asInt else { return true }
      return bound == .atMost ? given <= limit : given >= limit
    }
  }
}
