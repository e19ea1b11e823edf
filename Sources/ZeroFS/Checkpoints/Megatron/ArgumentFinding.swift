import Bytes
import HuggingFace
import Run

/// An argument of a run that is not as the model needs it.
package struct ArgumentFinding: Encodable, Sendable {
  /// The attribute of MDS's Namespace.
  package let argument: String
  package let given: String
  /// What the user writes instead.
  package let needed: String
  package let kind: ArgumentFact.Kind
  package let otherwise: String

  /// For a run that is refused.
  var error: RunError {
    .contradiction(argument: argument, has: given, needs: needed, otherwise: otherwise)
  }

  /// For a run that goes on.
  var warning: String { "--train-args: \(argument) is \(given); without \(needed), \(otherwise)." }

  /// What of a run is not as `model` needs it: what stops first, choices last. The one place that judges a command line: for
  /// `check`, for `--train-args`, and by `ArgumentFact.ofLauncher` for the launcher.
  ///
  /// - Parameters:
  ///   - given: the user's command line.
  ///   - completed: the same, with what MDS derives.
  ///   - tokens: that MDS counts in the run's tokenizer, where that is known.
  static func all(
    _ given: MegatronArguments, completed: MegatronArguments, tokens: Int?, model: MegatronModel
  ) -> [ArgumentFinding] {
    let facts = ArgumentFact.all(model, sequenceLength: completed.int("seq_length"))
    let wrong = facts.filter { !$0.isMet(by: completed) }.map { fact in
      ArgumentFinding(
        argument: fact.name, given: (completed[fact.name] ?? .none).pythonDescription, needed: fact.flag,
        kind: fact.kind, otherwise: fact.otherwise)
    }
    let found = wrong + vocabulary(given, tokens: tokens, model)
    let order: [ArgumentFact.Kind] = [.stops, .loss, .choice]
    return order.flatMap { kind in found.filter { $0.kind == kind } }
  }

  /// The vocabulary comes from the tokenizer (MDS `megatron/tokenizer/tokenizer.py`: `_vocab_size_with_padding`).
  private static func vocabulary(_ given: MegatronArguments, tokens: Int?, _ model: MegatronModel)
    -> [ArgumentFinding]
  {
    guard let tokens else { return [] }
    let vocabulary = model.vocabulary
    let divisor = given.int("make_vocab_size_divisible_by") ?? vocabulary.divisor
    let padded = PaddedVocabulary.padded(tokens, divisor: divisor, tp: model.layout.tp)
    guard padded != vocabulary.padded else { return [] }
    let isNull = given.string("tokenizer_type") == "NullTokenizer"
    return [
      ArgumentFinding(
        argument: "padded_vocab_size",
        given: "\(padded) (of \(tokens) tokens)",
        needed: isNull
          ? "\(vocabulary.padded), with --vocab-size \(vocabulary.rows - 1) (NullTokenizer adds one)"
          : "\(vocabulary.padded), by --make-vocab-size-divisible-by \(vocabulary.divisor(tokens: tokens, tp: model.layout.tp))",
        kind: .stops, otherwise: "the embeddings' shapes don't match")
    ]
  }
}
