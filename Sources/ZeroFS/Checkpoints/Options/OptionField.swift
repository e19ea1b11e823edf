import Bytes

/// One of `CheckpointOptions`: the row of a table. A test holds the table against the struct's members.
struct OptionField: Sendable {
  typealias Path<Value> = WritableKeyPath<CheckpointOptions, Value?> & Sendable

  /// `--tp`.
  let flag: String
  /// Whether a value follows on the command line.
  let takesValue: Bool
  /// The words of layout names; `nil` for an option that has none.
  let words: Words?

  /// Sets the value of the second where the first has one.
  let copy: @Sendable (CheckpointOptions, inout CheckpointOptions) -> Void
  /// Sets what a word of a command line means; false where it means nothing.
  let parse: @Sendable (String?, inout CheckpointOptions) -> Bool
  let encode: @Sendable (CheckpointOptions, inout KeyedEncodingContainer<Key>) throws -> Void
  let decode: @Sendable (KeyedDecodingContainer<Key>, inout CheckpointOptions) throws -> Void
  /// The value in words, for a contradiction; `nil` where there is none.
  let text: @Sendable (CheckpointOptions) -> String?

  /// In records: the flag without its dashes.
  var key: String { String(flag.dropFirst(2)) }

  struct Key: CodingKey {
    let stringValue: String
    var intValue: Int? { nil }
    init(stringValue: String) { self.stringValue = stringValue }
    init?(intValue: Int) { nil }
  }

  /// How an option is spelled in the name of a directory.
  struct Words: Sendable {
    /// Sets what `word` spells; `nil` where it isn't one of this option's.
    let take: @Sendable (Substring) -> (@Sendable (inout CheckpointOptions) -> Void)?
    let spelled: @Sendable (CheckpointOptions) -> String?
    /// For documents: `tpN`, `pipe|nopipe`.
    let grammar: String
  }

  private init<Value: Codable & Sendable>(
    _ flag: String, _ path: Path<Value>, takesValue: Bool = true, words: Words? = nil,
    _ value: @escaping @Sendable (String?) -> Value?
  ) {
    (self.flag, self.takesValue, self.words) = (flag, takesValue, words)
    copy = { from, to in if let value = from[keyPath: path] { to[keyPath: path] = value } }
    parse = { text, options in
      guard let value = value(text) else { return false }
      options[keyPath: path] = value
      return true
    }
    let key = Key(stringValue: String(flag.dropFirst(2)))
    encode = { try $1.encodeIfPresent($0[keyPath: path], forKey: key) }
    decode = { $1[keyPath: path] = try $0.decodeIfPresent(Value.self, forKey: key) }
    text = { options in options[keyPath: path].map { "\($0)" } }
  }

  static func unknown(_ what: String, _ decoder: any Decoder) -> DecodingError {
    .dataCorrupted(
      .init(codingPath: decoder.codingPath, debugDescription: "\(what) is no option of a checkpoint"))
  }

  // MARK: - Kinds

  /// - Parameter word: in front of the number in a layout's name: `tp`.
  private static func number(_ flag: String, _ path: Path<Int>, word: String? = nil) -> OptionField {
    OptionField(flag, path, words: word.map { .number($0, path) }) { $0.flatMap { Int($0) } }
  }

  private static func choice<Value: RawRepresentable<String> & Codable & Equatable & Sendable>(
    _ flag: String, _ path: Path<Value>, words: KeyValuePairs<String, Value> = [:]
  ) -> OptionField {
    OptionField(flag, path, words: words.isEmpty ? nil : .choices(words, path)) {
      $0.flatMap { Value(rawValue: $0) }
    }
  }

  private static func toggle(_ flag: String, _ path: Path<Bool>, words: KeyValuePairs<String, Bool> = [:])
    -> OptionField
  {
    OptionField(flag, path, takesValue: false, words: words.isEmpty ? nil : .choices(words, path)) { _ in true
    }
  }

  private static func text(_ flag: String, _ path: Path<String>) -> OptionField {
    OptionField(flag, path) { $0 }
  }

  private static func text(_ flag: String, _ path: Path<NamedText>) -> OptionField {
    OptionField(flag, path) { $0.map { NamedText($0, name: "the recorded options") } }
  }

  // MARK: - The table

  /// In the order of a layout's words, and of documents.
  static let all: [OptionField] = [
    .choice("--as", \.view, words: ["hf": .hf]),
    .text("--like", \.like),
    .choice("--weights", \.weights),
    .toggle("--drop", \.drop),
    .text("--tag", \.tag),
    .toggle("--new-stage", \.newStage),
    .choice("--flavor", \.flavor),
    .text("--parameter-order", \.parameterOrder),
    .number("--tp", \.tp, word: "tp"),
    .number("--pp", \.pp, word: "pp"),
    .number("--dp", \.dp, word: "dp"),
    .number("--sp", \.sp, word: "sp"),
    .number("--zero-stage", \.zeroStage, word: "zero"),
    .choice("--dtype", \.dtype, words: ["bf16": .bf16, "fp16": .fp16, "fp32": .fp32]),
    .toggle("--no-pipeline-parallel", \.noPipelineParallel, words: ["pipe": false, "nopipe": true]),
    .number("--iteration", \.iteration, word: "it"),
    .number("--make-vocab-size-divisible-by", \.makeVocabSizeDivisibleBy, word: "div"),
    .choice("--vocab-padding", \.vocabPadding, words: ["padzero": .zero, "padmean": .mean]),
    .number("--tokenizer", \.tokens),
    .toggle(
      "--untie-embeddings-and-output-weights", \.untieEmbeddingsAndOutputWeights,
      words: ["tied": false, "untied": true]),
    .toggle(
      "--universal-checkpoint", \.universalCheckpoint, words: ["nouniversal": false, "universal": true]),
    .text("--train-args", \.trainArguments),
    .text("--deepspeed-config", \.deepSpeedConfiguration),
    .text("--deepspeed-version", \.deepSpeedVersion),
    .number("--seed", \.seed),
    .choice("--device", \.device),
    .text("--optimizer", \.optimizer),
    .toggle("--ds-fused-adam", \.fusedAdam),
    .choice("--moments", \.moments),
    .choice("--masters", \.masters),
    .choice("--grad-accum-dtype", \.gradAccumDtype),
    .number("--sub-group-size", \.subGroupSize),
    .choice("--extension", \.extensionUse),
  ]
}

extension OptionField.Words {
  fileprivate static func number(_ prefix: String, _ path: OptionField.Path<Int>) -> Self {
    .init(
      take: { word in
        // Not "07", "+7" or "٧", which Int may take.
        guard word.prefix(while: { $0.isLetter }) == prefix, let number = Int(word.dropFirst(prefix.count)),
          word == "\(prefix)\(number)"
        else { return nil }
        return { options in options[keyPath: path] = number }
      },
      spelled: { options in options[keyPath: path].map { "\(prefix)\($0)" } },
      grammar: "\(prefix)N")
  }

  fileprivate static func choices<Value: Equatable & Sendable>(
    _ words: KeyValuePairs<String, Value>, _ path: OptionField.Path<Value>
  ) -> Self {
    let words = words.map { (word: $0.key, value: $0.value) }
    return .init(
      take: { word in
        guard let value = words.first(where: { $0.word == word })?.value else { return nil }
        return { options in options[keyPath: path] = value }
      },
      spelled: { options in
        options[keyPath: path].flatMap { value in words.first { $0.value == value }?.word }
      },
      grammar: words.map(\.word).joined(separator: "|"))
  }
}
