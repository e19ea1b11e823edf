import Bytes
import FoundationEssentials
import HuggingFace
import Run
import Torch

/// The run's DeepSpeed configuration (`--deepspeed_config`), as far as it shows in a checkpoint. Without a file: what the
/// layout implies, and DeepSpeed's defaults (`runtime/config.py`, `runtime/fp16/loss_scaler.py`).
package struct DeepSpeedConfiguration: Sendable {
  /// `fp16.initial_scale_power`: dynamic loss scaling starts at 2 to this power.
  private(set) var initialScalePower = 16
  /// `fp16.loss_scale_window`, in steps.
  private(set) var lossScaleWindow = 1000
  /// `data_types.grad_accum_dtype` is fp32.
  private(set) var accumulatesInFloat32 = false
  /// `zero_optimization.sub_group_size`, in elements.
  private(set) var subGroupSize = 1_000_000_000
  /// The file's members, as `ds_config` of a checkpoint holds them.
  private var members: [String: JSONValue] = [:]

  // Names as in the file.
  // swift-format-ignore: AlwaysUseLowerCamelCase
  private struct File: Decodable {
    struct FP16: Decodable {
      let initial_scale_power: Int?
      let loss_scale_window: Int?
    }
    struct DataTypes: Decodable { let grad_accum_dtype: String? }
    /// DeepSpeed takes 1e9 for a whole number, too.
    struct Zero: Decodable { let sub_group_size: Double? }
    let fp16: FP16?
    let data_types: DataTypes?
    let zero_optimization: Zero?
  }

  package init() {}

  /// What a run of HF Trainer has at least, by transformers' documentation: the clipping of its own arguments.
  package static let ofTrainer = {
    var configuration = DeepSpeedConfiguration()
    configuration.members["gradient_clipping"] = .string("auto")
    return configuration
  }()

  /// - Throws: `RunError.file` if it isn't a DeepSpeed configuration.
  package init(_ source: NamedText) throws(RunError) {
    func refuse(_ why: String) -> RunError {
      .file(
        option: "--deepspeed-config", path: source.name, why: why,
        instead: "the JSON file of the run's --deepspeed_config")
    }
    let contents = Array(source.text.utf8)
    let file: File
    do {
      file = try JSONDecoder().decode(File.self, from: Data(contents))
      members = try JSONDecoder().decode([String: JSONValue].self, from: Data(contents))
    } catch {
      throw refuse("not a DeepSpeed configuration (\(decodingProblem(error)))")
    }
    initialScalePower = file.fp16?.initial_scale_power ?? initialScalePower
    lossScaleWindow = file.fp16?.loss_scale_window ?? lossScaleWindow
    accumulatesInFloat32 = file.data_types?.grad_accum_dtype == "fp32"
    if let size = file.zero_optimization?.sub_group_size {
      guard size >= 1, let size = Int(exactly: size.rounded()) else {
        throw refuse("zero_optimization.sub_group_size is \(size)")
      }
      subGroupSize = size
    }
    if let clipping = self["gradient_clipping"], clipping.number == nil, !clipping.isAuto {
      throw refuse("gradient_clipping is neither a number nor \"auto\"")
    }
    guard (0...62).contains(initialScalePower) else {
      throw refuse("fp16.initial_scale_power is \(initialScalePower)")
    }
  }

  /// A member of the file.
  subscript(name: String) -> JSONValue? { members[name] }

  /// What the run trains in; `nil` where the file doesn't say.
  ///
  /// - Parameter auto: what "auto" stands for.
  package func dtype(auto: DType?) -> DType? {
    for (section, dtype) in [("bf16", DType.bfloat16), ("fp16", .float16)] {
      guard let isEnabled = self[section]?["enabled"] else { continue }
      if isEnabled.isTrue || isEnabled.isAuto && auto == dtype { return dtype }
    }
    return nil
  }

  /// `zero_optimization.stage`.
  package var zeroStage: Int? { self["zero_optimization"]?["stage"]?.number.flatMap { Int(exactly: $0) } }

  /// `gradient_clipping`; `nil` for DeepSpeed's default.
  ///
  /// - Parameter auto: what "auto" stands for.
  func gradientClipping(auto: Double?) -> Double? {
    self["gradient_clipping"].flatMap { $0.isAuto ? auto : $0.number }
  }

  /// `zero_optimization.offload_optimizer`, or its older name.
  var isOptimizerOffloaded: Bool {
    let zero = self["zero_optimization"]
    let device = zero?["offload_optimizer"]?["device"]?.string ?? "none"
    return device != "none" || zero?["cpu_offload"]?.isTrue == true
  }

  /// Sets `zero_optimization.sub_group_size`.
  package mutating func setSubGroupSize(_ size: Int) throws(LayoutError) {
    guard size >= 1 else { throw .size(name: "--sub-group-size", value: size) }
    subGroupSize = size
    set("zero_optimization", "sub_group_size", .int(size))
  }

  /// Sets `data_types.grad_accum_dtype`.
  package mutating func setGradAccumDType(_ dtype: CheckpointOptions.Precision) {
    accumulatesInFloat32 = dtype == .fp32
    set("data_types", "grad_accum_dtype", .string(dtype.rawValue))
  }

  /// `ds_config` of a run with `layout`.
  func value(_ layout: ParallelLayout) -> PickleValue {
    var copy = self
    copy.set("zero_optimization", "stage", .int(layout.zeroStage))
    switch layout.dtype {
    case .bfloat16: copy.set("bf16", "enabled", .bool(true))
    case .float16: copy.set("fp16", "enabled", .bool(true))
    default: break
    }
    return JSONValue.object(copy.members).pickle
  }

  private mutating func set(_ section: String, _ key: String, _ value: JSONValue) {
    var object: [String: JSONValue] = [:]
    if case .object(let known)? = members[section] { object = known }
    object[key] = value
    members[section] = .object(object)
  }
}
