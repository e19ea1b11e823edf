import Bytes
import Torch

/// Who calls DeepSpeed's `save_checkpoint`, Megatron-DeepSpeed or a script with a model of transformers: what the client has
/// a say in. File names and partitions are DeepSpeed's own.
protocol CheckpointClient: Sendable {
  var layout: ParallelLayout { get }
  var settings: OptimizerSettings { get }
  /// `engine.global_steps`, which the tag is named after.
  var step: Int { get }
  /// For those who read a plan.
  var summary: ModelSummary { get }
  /// Its layout in words.
  var layoutName: LayoutName { get }
  /// How a run loads it.
  var loading: [String] { get }
  /// Things that are served as asked and may still surprise.
  var warnings: [String] { get }

  /// The optimizer's groups on one model-parallel rank.
  func groups(tp: Int, pp: Int) -> [ParameterGroup]
  /// The contents of a model states file.
  ///
  /// - Parameter optimizer: of the model-parallel rank.
  func modelState(_ optimizer: OptimizerState, tp: Int, pp: Int, dp: Int) -> PickleValue
  /// The files of the pipeline engine's layers that tensor-parallel rank `tp` of stage `pp` loads: names and contents.
  func layerFiles(tp: Int, pp: Int) -> [(name: String, contents: @Sendable () -> PickleValue)]
  /// What the client writes beside DeepSpeed's files; `tag` is the directory of these.
  func ownFiles(tag: String) -> [FileTree.Entry]
  /// What a run needs beside the checkpoint, relative to `.zerofs`.
  var companions: [FileTree.Entry] { get }
  /// Whether it can't do without.
  var needsCompanions: Bool { get }
}

extension CheckpointClient {
  var companions: [FileTree.Entry] { [] }
  var needsCompanions: Bool { false }
}

/// The model in a few numbers; those that its configuration doesn't tell are `nil`.
package struct ModelSummary: Encodable, Sendable {
  let type: String
  let layers: Int?
  let hiddenSize: Int?
  let vocabularySize: Int?
  let paddedVocabularySize: Int?
  package let isTied: Bool
}
