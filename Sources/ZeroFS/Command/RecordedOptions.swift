import Bytes
import Checkpoints
import HuggingFace
import Run

extension CheckpointOptions {
  /// Options that make the same checkpoint from the same model wherever they are given: what a manifest records. Files that
  /// options name are in them with what they hold.
  func recorded() throws -> [String] {
    func option<Value>(_ name: String, _ value: Value?) -> [String] {
      value.map { [name, "\($0)"] } ?? []
    }
    func flag(_ name: String, _ isSet: Bool) -> [String] { isSet ? [name] : [] }
    func json(_ name: String, _ textOrFile: String?) throws -> [String] {
      option(name, try textOrFile.map { String(decoding: try TextOrFile.contents($0), as: UTF8.self) })
    }
    let flavor = try layout.megatronFlavor()?.rawValue ?? layout.flavor?.rawValue
    let parts = [
      option("--flavor", flavor),
      try json("--parameter-order", layout.parameterOrder),
      option("--tp", layout.tp), option("--pp", layout.pp), option("--dp", layout.dp),
      option("--sp", layout.sp),
      option("--zero-stage", layout.zeroStage), option("--dtype", layout.dtype),
      flag("--no-pipeline-parallel", layout.noPipelineParallel),
      option("--make-vocab-size-divisible-by", layout.makeVocabSizeDivisibleBy),
      option("--vocab-padding", layout.vocabPadding.rawValue),
      flag("--untie-embeddings-and-output-weights", layout.untieEmbeddingsAndOutputWeights),
      option("--iteration", layout.iteration),
      option(
        "--train-args",
        try run.trainArguments.map {
          layout.flavor == .trainer
            ? try TrainingArguments.recorded(textOrFile: $0) : try MegatronArguments.recorded(textOrFile: $0)
        }),
      try json("--deepspeed-config", run.deepSpeedConfiguration),
      // Not the newest one of whoever reads the manifest.
      option("--deepspeed-version", run.deepspeedVersion ?? "\(DeepSpeedVersion.newest)"),
      option("--seed", run.seed), option("--device", run.device.rawValue),
      option("--optimizer", run.optimizer),
      flag("--ds-fused-adam", run.fusedAdam), option("--moments", run.moments.rawValue),
      option("--masters", run.masters.rawValue), option("--grad-accum-dtype", run.gradAccumDtype),
      option("--sub-group-size", run.subGroupSize), flag("--universal-checkpoint", run.universalCheckpoint),
    ]
    return parts.flatMap { $0 }
  }
}
