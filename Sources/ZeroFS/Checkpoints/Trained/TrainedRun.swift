import Bytes
import HuggingFace
import Run
import Torch

/// The run that saved a checkpoint, as one of its model states files describes it.
struct TrainedRun: Sendable {
  /// Those that make a checkpoint of the same layout.
  let options: CheckpointOptions
  let layout: ParallelLayout
  /// The Namespace of an MDS run; `nil` of a script with a model of transformers.
  let arguments: MegatronArguments?
  /// The fork of MDS that saved it.
  var flavor: MegatronFlavor? { options.flavor?.megatron }
  /// Rows that the tokenizer has; 0 where the file doesn't say.
  let vocabularySize: Int
  /// `engine.global_steps`.
  let step: Int
  /// The spec of a model that MDS computed with its extension (zerofs_megatron/guard.py: `put`), as JSON.
  let extensionSpec: JSON?

  /// - Throws: `TrainedError.unsupported` for a layout that can't be.
  init(_ state: PickleValue, path: String, isTrainers: Bool) throws(TrainedError) {
    var options = CheckpointOptions(of: state, isTrainers: isTrainers)
    let attributes = state["args"].flatMap { if case .build = $0 { $0.namedItems } else { nil } }
    arguments = attributes.map { MegatronArguments(namespace: $0.map { ($0.name, ArgumentValue($0.value)) }) }
    if let arguments {
      options.flavor = TrainedRun.flavor(arguments)
      options.untieEmbeddingsAndOutputWeights = nil
      options.seed = arguments.int("seed")
    }
    do {
      layout = try ParallelLayout(
        tp: options.tp ?? 1, pp: options.pp ?? 1, dp: options.dp ?? 1, sp: options.sp ?? 1,
        zeroStage: options.zeroStage ?? 0, dtype: options.dtype?.dtype ?? .float32,
        engine: arguments != nil && options.noPipelineParallel != true ? .pipeline : .noPipeline)
    } catch { throw .unsupported(path: path, what: "its layout", why: "\(error)") }
    vocabularySize = state["universal_checkpoint_info"]?["original_vocab_size"]?.integer ?? 0
    step = state["global_steps"]?.integer ?? 0
    extensionSpec = attributes?.first { $0.name == MegatronExtensionFiles.package }.flatMap { guardObject in
      guard case .new(_, let arguments) = guardObject.value, let text = arguments.first?.text else {
        return nil
      }
      return try? JSON(Array(text.utf8))
    }
    self.options = options
  }

  /// `nil` of one that zerofs doesn't know.
  var deepSpeedVersion: DeepSpeedVersion? { options.deepSpeedVersion.flatMap { try? DeepSpeedVersion($0) } }

  /// The fork whose parser has these arguments (`megatron/arguments.py`).
  private static func flavor(_ arguments: MegatronArguments) -> CheckpointOptions.Flavor {
    if arguments["ds_sequence_parallel_fpdt"] != nil { return .upstreamFPDT }
    return arguments["sophiag_beta1"] != nil ? .alcf : .upstream
  }
}

extension ArgumentValue {
  /// The value of an attribute; `object` where it is of a kind that no command line has.
  init(_ value: PickleValue) {
    switch value {
    case .none: self = .none
    case .bool(let value): self = .bool(value)
    case .int(let value): self = .int(value)
    case .float(let value): self = .float(value)
    case .string(let value): self = .string(value)
    case .list(let values): self = .list(values.map { ArgumentValue($0) })
    case .global("torch", let name):
      self = DType.allCases.first { $0.torchName == name }.map { .dtype($0) } ?? .object
    default: self = .object
    }
  }
}
