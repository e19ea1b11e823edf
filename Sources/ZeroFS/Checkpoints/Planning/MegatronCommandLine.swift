import Bytes
import HuggingFace
import Run

/// The part of MDS's command line that a model and its layout decide: `zerofs args`. What is MDS's default is left out.
package struct MegatronCommandLine: Sendable {
  package struct Argument: Encodable, Sendable {
    /// `--hidden-size`.
    package let argument: String
    package let values: [String]
    package let kind: ArgumentFact.Kind
    /// What goes wrong without it.
    package let otherwise: String

    init(_ words: [String], _ kind: ArgumentFact.Kind, otherwise: String) {
      (argument, values) = (words[0], Array(words.dropFirst()))
      (self.kind, self.otherwise) = (kind, otherwise)
    }

    /// The words, as a shell takes them.
    var text: String { ([argument] + values).map(\.shellQuoted).joined(separator: " ") }
  }

  package let arguments: [Argument]
  /// What isn't the model's to decide, or can't be had.
  package let notes: [String]
  let model: MegatronModel
  let facts: [ArgumentFact]
  let tokenizer: [Argument]

  /// - Parameters:
  ///   - tokens: that MDS counts in the tokenizer beside the model; `nil` where there is none that it can read.
  ///   - configuration: the file of DeepSpeed's configuration, and the micro-batch that it says.
  init(_ model: MegatronModel, tokens: Int?, configuration: (path: String, microBatchSize: Int)?) {
    self.init(
      model, tokenizer: MegatronCommandLine.tokenizer(model, tokens: tokens), configuration: configuration,
      notes: MegatronCommandLine.notes(model, tokens: tokens))
  }

  /// That of a model that a run has trained, whose tokenizer the run goes on with.
  ///
  /// - Parameter run: its arguments; `nil` of a script's, whose tokenizer MDS may not read.
  init(
    _ model: MegatronModel, tokenizer run: MegatronArguments?,
    configuration: (path: String, microBatchSize: Int)?
  ) {
    let words = run.map(MegatronCommandLine.tokenizer) ?? []
    self.init(
      model, tokenizer: words, configuration: configuration,
      notes: MegatronCommandLine.ownNotes(model)
        + (words.isEmpty
          ? ["yours to choose as well: the tokenizer, which has to have the model's rows"] : []))
  }

  private init(
    _ model: MegatronModel, tokenizer: [Argument], configuration: (path: String, microBatchSize: Int)?,
    notes: [String]
  ) {
    (self.model, self.tokenizer, self.notes) = (model, tokenizer, notes)
    let facts = ArgumentFact.all(model).filter { $0.bound == .equal }
    self.facts = facts
    let needed = facts.filter { !$0.words.isEmpty && !MegatronCommandLine.isDefault($0, of: facts, model) }
      .map {
        Argument($0.words, $0.kind, otherwise: $0.otherwise)
      }
    arguments =
      needed + MegatronCommandLine.positions(model) + tokenizer
      + MegatronCommandLine.configuration(configuration)
  }

  /// As a run has it.
  private static func tokenizer(_ run: MegatronArguments) -> [Argument] {
    let otherwise = "MDS asks for it, and counts the embedding's rows in it"
    return [
      ("--tokenizer-type", run.string("tokenizer_type")),
      ("--tokenizer-model", run.string("tokenizer_model")),
      ("--vocab-file", run.string("vocab_file")), ("--merge-file", run.string("merge_file")),
      ("--vocab-size", run.int("vocab_size").map { "\($0)" }),
    ].compactMap { flag, value in value.map { Argument([flag, $0], .stops, otherwise: otherwise) } }
  }

  /// Whether a run that has all others comes to the value without this one.
  private static func isDefault(_ fact: ArgumentFact, of facts: [ArgumentFact], _ model: MegatronModel)
    -> Bool
  {
    var arguments = MegatronArguments()
    for other in facts where other.name != fact.name { arguments.set(other.name, other.value) }
    guard
      let completed = try? arguments.completed(
        for: RunArguments.run(model, tp: 0, pp: 0, dp: 0))
    else { return false }
    // Not by what it comes to as well: launch scripts turn the fused kernels off.
    return (completed[fact.name] ?? .none).equals(fact.value)
  }

  private static func positions(_ model: MegatronModel) -> [Argument] {
    guard case .rotary = model.table.architecture.positions else { return [] }
    let positions = model.configuration.maxPositionEmbeddings
    return [
      Argument(
        ["--max-position-embeddings", "\(positions)"], .stops,
        otherwise: "MDS asks for it, and refuses longer sequences")
    ]
  }

  private static func tokenizer(_ model: MegatronModel, tokens: Int?) -> [Argument] {
    let otherwise = "MDS asks for it, and counts the embedding's rows in it"
    guard tokens != nil else {
      return [
        Argument(["--tokenizer-type", "NullTokenizer"], .stops, otherwise: otherwise),
        Argument(
          ["--vocab-size", "\(model.vocabulary.size - 1)"], .stops,
          otherwise: "the embeddings' shapes don't match"),
      ]
    }
    return [
      Argument(["--tokenizer-type", "HFTokenizer"], .stops, otherwise: otherwise),
      Argument(["--tokenizer-model", model.directory?.path ?? ""], .stops, otherwise: otherwise),
    ]
  }

  private static func configuration(_ file: (path: String, microBatchSize: Int)?) -> [Argument] {
    guard let file else { return [] }
    return [
      Argument(["--deepspeed_config", file.path], .stops, otherwise: "DeepSpeed asks for it"),
      Argument(
        ["--micro-batch-size", "\(file.microBatchSize)"], .stops,
        otherwise: "DeepSpeed's configuration says so"),
    ]
  }

  private static func ownNotes(_ model: MegatronModel) -> [String] {
    let (c, layout) = (model.configuration, model.layout)
    let limit = ([c.maxPositionEmbeddings] + model.table.architecture.sequenceLimits.map(\.tokens)).min() ?? 0
    return [
      "\(c.modelType), \(layout.dtype.torchName): TP \(layout.tp) x PP \(layout.pp) x DP \(layout.dp)"
        + (layout.sp > 1 ? " x SP \(layout.sp)" : "")
        + ", ZeRO \(layout.zeroStage), \(layout.engine == .pipeline ? "pipeline engine" : "no pipeline")",
      "yours to choose: --seq-length of at most \(limit), the batch, the schedule, the optimizer, the data",
    ]
  }

  private static func notes(_ model: MegatronModel, tokens: Int?) -> [String] {
    let (layout, vocabulary) = (model.layout, model.vocabulary)
    var notes = ownNotes(model)
    if let tokens, tokens != vocabulary.rows {
      notes.append("the tokenizer counts \(tokens) tokens, and the model has \(vocabulary.rows) rows")
    }
    if vocabulary.padded != vocabulary.size {
      notes.append(
        "no --make-vocab-size-divisible-by leaves \(vocabulary.size) rows at TP \(layout.tp)"
          + (tokens ?? vocabulary.size == vocabulary.size ? "" : " with this tokenizer")
          + ": there are \(vocabulary.padded)")
    }
    if tokens == nil {
      notes.append("no tokenizer.json beside the model: NullTokenizer takes data that is tokenized already")
    }
    return notes
  }
}

extension MegatronCommandLine {
  /// A file for `--deepspeed_config`, with a step of one micro-batch on each data-parallel rank.
  package func deepSpeedConfiguration(microBatchSize: Int) -> String {
    struct Configuration: Encodable {
      struct Enabled: Encodable { let enabled = true }
      struct Zero: Encodable { let stage: Int }
      let trainMicroBatchSizePerGpu: Int
      let gradientAccumulationSteps = 1
      let gradientClipping = 1.0
      let zeroOptimization: Zero
      let bf16: Enabled?
      let fp16: Enabled?

      enum CodingKeys: String, CodingKey {
        case trainMicroBatchSizePerGpu = "train_micro_batch_size_per_gpu"
        case gradientAccumulationSteps = "gradient_accumulation_steps"
        case gradientClipping = "gradient_clipping"
        case zeroOptimization = "zero_optimization"
        case bf16, fp16
      }
    }
    let layout = model.layout
    return reportJSON(
      Configuration(
        trainMicroBatchSizePerGpu: microBatchSize, zeroOptimization: .init(stage: layout.zeroStage),
        bf16: layout.dtype == .bfloat16 ? .init() : nil, fp16: layout.dtype == .float16 ? .init() : nil))
  }
}

// MARK: - Formats

extension MegatronCommandLine {
  package enum Format: String, CaseIterable, Sendable { case lines, shell, helpers, finetune, json }

  package func text(_ format: Format) -> String {
    switch format {
    case .lines: (notes.map { "# \($0)" } + lines).joined(separator: "\n")
    case .shell:
      (notes.map { "# \($0)" } + ["MODEL_ARGS=("] + lines.map { "  \($0)" } + [")"]).joined(separator: "\n")
    case .helpers: HelpersEnvironment(self).text
    case .finetune: FinetuneScript(self).text
    case .json: reportJSON(Report(arguments: arguments, notes: notes))
    }
  }

  private struct Report: Encodable {
    let arguments: [Argument]
    let notes: [String]
  }

  /// One argument a line, with what goes wrong without it.
  private var lines: [String] {
    let width = arguments.map(\.text.count).filter { $0 <= 50 }.max() ?? 0
    return arguments.map { argument in
      let text = argument.text
      return text + String(repeating: " ", count: max(0, width - text.count))
        + "  # \(argument.kind.rawValue): \(argument.otherwise)"
    }
  }
}

extension CheckpointPlanner {
  /// The model's and the layout's part of MDS's command line. The vocabulary is padded as little as can be, if no option says how.
  ///
  /// - Parameter configuration: the file of DeepSpeed's configuration, and the micro-batch that it says.
  /// - Throws: as `checkpoint()`.
  package func commandLine(_ configuration: (path: String, microBatchSize: Int)?) throws
    -> MegatronCommandLine
  {
    guard let megatron = flavor.megatron else {
      throw LayoutError.notInFlavor(option: "args", flavor: flavor.rawValue)
    }
    let options = try megatronOptions()
    if case .trained(let trained) = source {
      return MegatronCommandLine(
        try megatronModel(options, megatron), tokenizer: trained.run.arguments, configuration: configuration)
    }
    return try commandLine(source.directory(for: "zerofs args"), options, megatron, configuration)
  }

  private func commandLine(
    _ directory: HuggingFaceDirectory, _ options: CheckpointOptions, _ megatron: MegatronFlavor,
    _ configuration: (path: String, microBatchSize: Int)?
  ) throws -> MegatronCommandLine {
    var options = options
    // What the tokenizer has that the run will have by these arguments.
    let tokenizer = tokenizer ?? (try? TokenizerFiles(directory: directory.path))
    options.tokens = options.tokens ?? tokenizer?.tokens
    if options.makeVocabSizeDivisibleBy == nil {
      let rows = try ParameterTable(of: directory, flavor: megatron).configuration.vocabSize
      options.makeVocabSizeDivisibleBy = PaddedVocabulary.divisor(
        rows: max(rows, options.tokens ?? 0), tokens: tokenizer?.modelTokens, tp: max(1, options.tp ?? 1))
    }
    let tokens = tokenizer?.modelTokens
    return MegatronCommandLine(
      try megatronModel(options, megatron), tokens: tokens, configuration: configuration)
  }

  /// What of `--train-args` is not as the model needs it.
  ///
  /// - Throws: as `checkpoint()`, but for what is found.
  package func findings() throws -> [ArgumentFinding] {
    guard let megatron = flavor.megatron, let arguments else {
      throw LayoutError.notInFlavor(option: "check", flavor: flavor.rawValue)
    }
    return try RunArguments.findings(
      arguments, tokenizer, try megatronModel(try megatronOptions(), megatron))
  }
}
