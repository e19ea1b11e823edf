/// A version of DeepSpeed: what its checkpoints hold and what a load expects. Looked up in DeepSpeed's tags up to 0.19.5 and in
/// its packages from 0.18.4 to 0.19.8.
package struct DeepSpeedVersion: Sendable, Comparable, CustomStringConvertible {
  let major: Int
  let minor: Int
  let patch: Int

  package static let newest = DeepSpeedVersion(0, 19, 8)
  private static let oldest = DeepSpeedVersion(0, 14, 0)

  private init(_ major: Int, _ minor: Int, _ patch: Int) {
    (self.major, self.minor, self.patch) = (major, minor, patch)
  }

  /// - Parameter text: `0.16.9`; `0.16` for its last patch.
  /// - Throws: `LayoutError.deepSpeedVersion` for others than 0.14 to 0.19.
  package init(_ text: String) throws(LayoutError) {
    let parts = text.split(separator: ".", omittingEmptySubsequences: false)
    let numbers = parts.compactMap { Int($0) }.filter { (0..<1000).contains($0) }
    guard numbers.count == parts.count, (2...3).contains(numbers.count) else { throw .deepSpeedVersion(text) }
    let lastPatch = [14: 5, 15: 4, 16: 9, 17: 6, 18: 9, 19: 8][numbers[1]] ?? 0
    self.init(numbers[0], numbers[1], numbers.count == 3 ? numbers[2] : lastPatch)
    guard self >= Self.oldest && major == 0 && minor <= Self.newest.minor else {
      throw .deepSpeedVersion(text)
    }
  }

  package var description: String { "\(major).\(minor).\(patch)" }

  package static func < (a: Self, b: Self) -> Bool {
    (a.major, a.minor, a.patch) < (b.major, b.minor, b.patch)
  }

  /// Model states list the modules with sparse gradients (`sparse_tensor_module_names`).
  var listsSparseModules: Bool { self < DeepSpeedVersion(0, 19, 8) }

  /// Model states say how the model is cut (`checkpoint_parallel_dimensions`, #8198).
  var hasParallelDimensions: Bool { self >= DeepSpeedVersion(0, 19, 5) }

  /// Stages 1 and 2 may align parameters (`param_alignment_paddings`).
  var hasAlignmentPaddings: Bool { self >= DeepSpeedVersion(0, 19, 7) }

  /// `universal_checkpoint_version` (`checkpoint/constants.py`: `UNIVERSAL_CHECKPOINT_VERSION_VALUE`).
  var universalCheckpointVersion: Double {
    self >= DeepSpeedVersion(0, 19, 6) ? 0.4 : self >= DeepSpeedVersion(0, 19, 2) ? 0.3 : 0.2
  }

  /// `gradient_clipping` of a configuration that doesn't set it (#8068).
  var gradientClippingDefault: Double { self >= DeepSpeedVersion(0, 19, 3) ? 1 : 0 }

  /// bf16 at stage 0 without the pipeline engine accumulates gradients in fp32, in `BF16_Optimizer` (`runtime/engine.py`:
  /// `get_data_types`).
  var wrapsBFloat16AlwaysInFloat32: Bool { self < DeepSpeedVersion(0, 17, 6) }

  /// Model states of bf16 at stage 0 are without the optimizer's, as if these were partitioned, whether the wrapper writes
  /// files of its own (`BF16_Optimizer`) or not (`runtime/engine.py`: `_save_checkpoint`, `zero_optimizer_state`).
  var countsBFloat16AsZero: Bool { self < DeepSpeedVersion(0, 18, 5) }

  /// bf16 at stage 0 in the pipeline engine loads the optimizer state that it saves (until #7586).
  var loadsPipelineBFloat16StageZero: Bool { self <= DeepSpeedVersion(0, 17, 6) }
}
