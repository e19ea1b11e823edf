import Bytes

/// The names of a checkpoint's files, the one place of them (DeepSpeed `runtime/engine.py`: `_get_ckpt_name`,
/// `_get_zero_ckpt_name`; `runtime/pipe/module.py`: `ckpt_layer_path`). Without `.pt`, which is also the name of the archive
/// inside.
package struct CheckpointNames: Sendable {
  /// `engine.global_steps`.
  let step: Int
  let layout: ParallelLayout
  /// Whether each data-parallel rank has a part of the optimizer's state, in a file of its own.
  let isPartitioned: Bool

  /// The file that names the newest tag.
  static let latest = "latest"
  /// In front of the step in the name of a directory of files.
  static let tagPrefix = "global_step"
  /// The directory of the files: `global_step0`.
  var tag: String { "\(Self.tagPrefix)\(step)" }

  /// A file of the tag's directory, relative to the checkpoint.
  func path(_ name: String) -> String { "\(tag)/\(name).pt" }

  /// A layer of the pipeline engine, by its number in `GPTModelPipe`'s list.
  static func layer(_ index: Int, tp: Int) -> String {
    "layer_\(String(index, digits: 2))-model_\(String(tp, digits: 2))-model_states"
  }

  /// The data-parallel ranks that write model states: at stage 3 each, else the first for all.
  var modelStateRanks: Range<Int> { 0..<(layout.zeroStage == 3 ? layout.zeroRanks : 1) }

  /// The data-parallel ranks that write a part of the optimizer's state.
  var partitionedRanks: Range<Int> { 0..<(isPartitioned ? layout.zeroRanks : 0) }

  func modelState(tp: Int, pp: Int, dp: Int) -> String {
    Self.modelState(
      layout.modelParallelRank(tp: tp, pp: pp), zeroRank: layout.zeroStage == 3 ? dp : nil)
  }

  /// - Parameter zeroRank: of a file for each data-parallel rank.
  static func modelState(_ modelParallelRank: Int, zeroRank: Int?) -> String {
    // Never with the bf16_ of the optimizer's files.
    (zeroRank.map { "zero_pp_rank_\($0)_" } ?? "")
      + "mp_rank_\(String(modelParallelRank, digits: 2))_model_states"
  }

  func optimizerState(tp: Int, pp: Int, dp: Int) -> String {
    "\(layout.dtype == .bfloat16 ? "bf16_" : "")zero_pp_rank_\(dp)_mp_rank_\(rank(tp, pp))_optim_states"
  }

  private func rank(_ tp: Int, _ pp: Int) -> String {
    String(layout.modelParallelRank(tp: tp, pp: pp), digits: 2)
  }
}
