import Bytes
import HuggingFace

/// What a user should know of a checkpoint before loading it: things that are served as asked and still surprise.
extension MegatronClient {
  /// How MDS loads it: the flags, and what it takes from the checkpoint instead of from its command line.
  var loading: [String] {
    // helpers.sh adds --use-checkpoint-opt_param-scheduler, with which MDS stops, where the variable isn't set.
    let needed =
      run.isGiven
      ? ""
      : " with --no-load-rng --override-opt_param-scheduler"
        + (model.flavor == .alcf ? " (and OVERRIDE_CKPT_OPT_PARAM=1 for ALCF's helpers.sh)" : "")
    var lines: [String] = []
    if model.layout.zeroStage < 3 { lines.append("weights only: --load with --finetune") }
    if stageZeroProblem != nil { return lines + extensionLines }
    lines.append("full state: --load\(needed)")
    if !run.isGiven {
      lines.append(
        "  the optimizer's betas \(settings.adam.betas), eps \(settings.adam.eps) and clip-grad \(settings.clipGrad) come from the "
          + "checkpoint: give --train-args if the run has others, and for a load without extra flags")
    }
    return lines + extensionLines
  }

  var warnings: [String] {
    let c = model.configuration
    var warnings = model.warnings(run)
    let isExtended = model.table.architecture.spec.hasOneKeyValueHead
    if c.keyValueHeads == layout.tp && c.heads > c.keyValueHeads && !(isExtended && needsCompanions) {
      warnings.append(
        "one key-value head on each tensor-parallel rank: MDS runs this with flash attention only "
          + "(--use-flash-attn-v2 or its like)"
          + (isExtended
            ? ", or started by python3 -m zerofs_megatron, with the mount's .zerofs on PYTHONPATH." : "."))
    }
    if layout.zeroStage == 3 {
      warnings.append(
        "ZeRO stage 3 with --finetune fails inside MDS, which then joins the optimizer's files to a model that it can't load. "
          + "Load without --finetune\(run.isGiven ? "" : ", with --override-opt_param-scheduler").")
    }
    warnings += run.choices.map(\.warning)
    warnings += run.notes.map { "--train-args: \($0)." }
    if !run.unknown.isEmpty {
      warnings.append(
        "--train-args: MDS has no \(run.unknown.joined(separator: ", ")); the checkpoint is made as if it were not there."
      )
    }
    warnings += stageZeroWarnings(weightsOnly: "--finetune")
    if layout.modelParallelSize > 100 {
      warnings.append(
        "TP × PP = \(layout.modelParallelSize): DeepSpeed sorts mp_rank files as text, so that from 100 on it picks wrong ones."
      )
    }
    return warnings
  }
}

extension CheckpointClient {
  /// Why DeepSpeed can't load the optimizer state that it saves in bf16 at stage 0, as in some versions; `nil` where it can.
  var stageZeroProblem: String? {
    guard layout.zeroStage == 0 && layout.dtype == .bfloat16 else { return nil }
    let version = settings.deepSpeedVersion
    if settings.wrapper == .bf16 && !version.loadsPipelineBFloat16StageZero {
      return "in the pipeline engine: DeepSpeed from 0.17.7 on can't load its own optimizer state there."
    }
    if !settings.wrapper.isPartitioned && version.countsBFloat16AsZero {
      return
        "without the pipeline engine: DeepSpeed 0.17.6 to 0.18.4 save no optimizer state there, so that the first "
        + "step goes from random weights."
    }
    return nil
  }

  /// - Parameter weightsOnly: what the client has for a load without the optimizer's state.
  func stageZeroWarnings(weightsOnly: String) -> [String] {
    stageZeroProblem.map { ["bf16 at ZeRO stage 0 \($0) Load with \(weightsOnly), or use stage 1."] } ?? []
  }
}
