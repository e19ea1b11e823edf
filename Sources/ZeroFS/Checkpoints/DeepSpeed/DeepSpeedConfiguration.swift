import Bytes
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
  private var members = JSON.Members()

  package init() {}

  /// What a run of HF Trainer has at least, by transformers' documentation: the clipping of its own arguments.
  package static let ofTrainer = {
    var configuration = DeepSpeedConfiguration()
    configuration.members.set("gradient_clipping", .string("auto"))
    return configuration
  }()

  /// - Throws: `RunError.file` if it isn't a DeepSpeed configuration.
  package init(_ source: NamedText) throws(RunError) {
    var reader = JSONReader(Array(source.text.utf8))
    let json: JSON
    do { json = try reader.document() } catch {
      throw Self.refusal(of: source, "not a DeepSpeed configuration: there is \(error)")
    }
    guard let members = json.members else {
      throw Self.refusal(of: source, "not a DeepSpeed configuration, but \(json.excerpt)")
    }
    self.members = members
    // DeepSpeed `runtime/config_utils.py`: `dict_raise_error_on_duplicate_keys`.
    if let name = reader.duplicates.first {
      throw Self.refusal(of: source, "it has \(JSON.excerpt(name)) twice, which DeepSpeed refuses")
    }
    try readMembers(source)
  }

  private mutating func readMembers(_ source: NamedText) throws(RunError) {
    func count(_ section: String, _ name: String, from least: Int, _ otherwise: Int) throws(RunError) -> Int {
      guard let value = self[section]?[name], !value.isNull else { return otherwise }
      guard let number = value.number else {
        throw Self.refusal(of: source, "\(section).\(name) is \(value.excerpt)")
      }
      // DeepSpeed takes 1e9 for a whole number.
      guard let count = Int(exactly: number), count >= least else {
        throw Self.refusal(of: source, "\(section).\(name) is \(number)")
      }
      return count
    }
    initialScalePower = try count("fp16", "initial_scale_power", from: 0, initialScalePower)
    lossScaleWindow = try count("fp16", "loss_scale_window", from: 0, lossScaleWindow)
    subGroupSize = try count("zero_optimization", "sub_group_size", from: 1, subGroupSize)
    accumulatesInFloat32 = self["data_types"]?["grad_accum_dtype"]?.string == "fp32"
    if let clipping = self["gradient_clipping"], clipping.number == nil, !clipping.isAuto {
      throw Self.refusal(of: source, "gradient_clipping is neither a number nor \"auto\"")
    }
    guard initialScalePower <= 62 else {
      throw Self.refusal(of: source, "fp16.initial_scale_power is \(initialScalePower)")
    }
  }

  private static func refusal(of source: NamedText, _ why: String) -> RunError {
    .file(
      option: "--deepspeed-config", path: source.name, why: why,
      instead: "the JSON file of the run's --deepspeed_config")
  }

  /// A member of the file.
  subscript(name: String) -> JSON? { members[name] }

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
    for (section, dtype) in [("bf16", DType.bfloat16), ("fp16", .float16)] {
      if layout.dtype == dtype || self[section] != nil {
        copy.set(section, "enabled", .bool(layout.dtype == dtype))
      }
    }
    return JSON.object(copy.members).pickle
  }

  private mutating func set(_ section: String, _ key: String, _ value: JSON) {
    var object = members[section]?.members ?? JSON.Members()
    object.set(key, value)
    members.set(section, .object(object))
  }
}
