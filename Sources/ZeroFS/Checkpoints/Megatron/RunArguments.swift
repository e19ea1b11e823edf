import Bytes
import Glibc
import HuggingFace
import Run

/// The arguments of the run that a checkpoint is for: what the model and the layout say, and what the user's command line
/// adds. What MDS would save as `args`, and where its learning rate schedule and optimizer settings come from.
package struct RunArguments: Sendable {
  /// Before MDS's derived attributes, which depend on the rank.
  private let arguments: MegatronArguments
  /// Whether the user gave a command line. Without one the learning rate is unknown, and a full load needs
  /// `--override-opt_param-scheduler`.
  package let isGiven: Bool
  /// What the command line has and MDS doesn't know.
  let unknown: [String]
  /// How the command line was read, where the user should know.
  let notes: [String]
  /// What of the command line costs loss, by choice.
  let choices: [ArgumentFinding]
  /// The state of `OptimizerParamScheduler` at step 0, with zeros where the run isn't known.
  let schedule: LearningRateSchedule?
  let device: AcceleratorKind
  let seed: Int

  /// - Parameters:
  ///   - given: the user's command line.
  ///   - options: attributes that zerofs's own options set.
  ///   - isTrained: whether `given` is what a run saved, with the state of its schedule.
  /// - Throws: `RunError` for a flag that contradicts the model; `MegatronArgumentError` where MDS itself would refuse;
  ///   `RandomStateError` for a seed out of range.
  package init(
    _ given: MegatronArguments?, model: MegatronModel, options: [String: ArgumentValue] = [:],
    device: AcceleratorKind = .cuda, tokenizer: TokenizerFiles? = nil, isTrained: Bool = false
  ) throws {
    isGiven = given != nil
    unknown = given?.unknown ?? []
    notes = given?.notes ?? []
    self.device = device
    var arguments = given ?? MegatronArguments()
    let findings = try given.map { try RunArguments.findings($0, tokenizer, model) } ?? []
    if let wrong = findings.first(where: { $0.kind != .choice }) { throw wrong.error }
    choices = findings
    for fact in ArgumentFact.all(model) where fact.isRequired && !fact.isMetOtherwise(arguments) {
      arguments.set(fact.name, fact.value)
    }
    for (name, value) in options { arguments.set(name, value) }
    self.seed = arguments.int("seed") ?? 1234
    if given == nil {
      arguments.set("max_position_embeddings", .int(model.configuration.maxPositionEmbeddings))
      // The first step decays with the checkpoint's value, later ones with the run's. MDS's default is 0.01; both of
      // ALCF's entry points (finetune_llama.sh, helpers.sh) say 0.1.
      arguments.set("weight_decay", .float(0.1))
    }
    self.arguments = arguments
    let completed = try arguments.completed(for: RunArguments.run(model, tp: 0, pp: 0, dp: 0))
    schedule = try given == nil || isTrained ? nil : LearningRateSchedule(completed)
    for pp in 0..<model.layout.pp {
      _ = try randomState(model, tp: 0, pp: pp, dp: model.layout.zeroRanks - 1, trackerDraws: 0)
    }
  }

  /// What the Namespace of a rank holds.
  func completed(_ model: MegatronModel, tp: Int, pp: Int, dp: Int, _ training: TrainingState)
    -> MegatronArguments
  {
    do {
      return try arguments.completed(for: RunArguments.run(model, tp: tp, pp: pp, dp: dp, training))
    } catch {
      preconditionFailure(
        "init completed the same arguments, and nothing of it depends on the rank: \(error)")
    }
  }

  func randomState(_ model: MegatronModel, tp: Int, pp: Int, dp: Int, trackerDraws: Int)
    throws(RandomStateError) -> RandomState
  {
    try RandomState.megatron(
      seed: seed, pp: pp, tp: tp, dp: dp,
      dataParallelRandomInit: arguments.isTrue("data_parallel_random_init"),
      device: device, trackerDraws: arguments.isTrue("perform_initialization") ? trackerDraws : 0)
  }

  subscript(name: String) -> ArgumentValue? { arguments[name] }
  func int(_ name: String) -> Int? { arguments.int(name) }
  func double(_ name: String) -> Double? { arguments.double(name) }
  func isTrue(_ name: String) -> Bool { arguments.isTrue(name) }

  static func run(
    _ model: MegatronModel, tp: Int, pp: Int, dp: Int, _ training: TrainingState = .start()
  ) -> MegatronRun {
    let rank = model.layout.globalRank(tp: tp, pp: pp, dp: dp)
    var run = MegatronRun(
      rank: rank, worldSize: model.layout.worldSize, localRank: rank,
      paddedVocabSize: model.vocabulary.padded, iteration: training.iteration)
    run.consumedTrainSamples = training.consumedTrainSamples
    run.consumedValidSamples = training.consumedValidSamples
    run.consumedTrainTokens = training.consumedTrainTokens
    return run
  }
}

extension RunArguments {
  /// What of a command line is not as the model needs it. The vocabulary comes from the tokenizer; NullTokenizer's is on the
  /// command line (MDS `megatron/tokenizer/tokenizer.py`: `_NullTokenizer` adds one, `_HFTokenizer` leaves added tokens out).
  ///
  /// - Parameter tokenizer: the run's, where it can be read.
  /// - Throws: `MegatronArgumentError` where MDS itself would refuse the arguments.
  static func findings(_ given: MegatronArguments, _ tokenizer: TokenizerFiles?, _ model: MegatronModel)
    throws(MegatronArgumentError) -> [ArgumentFinding]
  {
    let completed = try given.completed(for: run(model, tp: 0, pp: 0, dp: 0))
    let null = given.string("tokenizer_type") == "NullTokenizer" ? given.int("vocab_size") : nil
    let tokens = null.flatMap { (0..<1 << 40).contains($0) ? $0 + 1 : nil } ?? tokenizer?.modelTokens
    return ArgumentFinding.all(given, completed: completed, tokens: tokens, model: model)
  }
}
