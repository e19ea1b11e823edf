import Bytes
import HuggingFace
import Run

/// What a user should know of a model in MDS: things that are served and may still surprise.
extension MegatronModel {
  func warnings(_ run: RunArguments) -> [String] {
    [
      sourceWarnings, table.architecture.warnings, extensionWarnings(run), biasWarnings, tyingWarnings,
      foldingWarnings, layerNormWarnings(run), vocabularyWarnings,
    ].flatMap { $0 }
  }

  private var sourceWarnings: [String] {
    let code =
      table.family.isRemoteCode
      ? [
        "model_type \"\(configuration.modelType)\" is code of model directories, not of transformers: it is served by its tensors' "
          + "names and \(architectures), as the published code computes them."
      ] : []
    return configuration.warnings + (directory?.warnings(servedAs: layout.dtype) ?? []) + code
  }

  private var architectures: String {
    configuration.architectures.first.map { "architectures \"\(JSON.excerpt($0))\"" } ?? "model_type alone"
  }

  /// What MDS doesn't compute alone, or not for sequences that the run may have without anyone knowing.
  private func extensionWarnings(_ run: RunArguments) -> [String] {
    let architecture = table.architecture
    var warnings = architecture.sequenceLimits.map {
      "\($0.feature): MDS alone computes this model for sequences of up to \($0.tokens) tokens, with the extension for all. Say the "
        + "run's --seq-length by --train-args, or start it by python3 -m zerofs_megatron, with the mount's .zerofs on PYTHONPATH."
    }
    // At TP 1 MDS drops the flag itself (`megatron/arguments.py`: `validate_args`).
    if layout.tp > 1 && run.isTrue("sequence_parallel") {
      warnings.append(
        "--sequence-parallel: MDS under DeepSpeed doesn't sum the gradients of the norms over tensor-parallel ranks, with or without "
          + "the extension; they train apart.")
    }
    guard architecture.extensionNeed == .always else { return warnings }
    let missed =
      extensionUse == .unguarded
      ? "Without it the run computes another model, and nothing stops it."
      : "Without it the run stops when it loads the checkpoint."
    warnings.append(
      "\(architecture.spec.summary): MDS computes this with the extension, which .zerofs of the mount has: start the run by "
        + "python3 -m zerofs_megatron, with that on PYTHONPATH. \(missed)")
    return warnings
  }

  /// A run has trained the padding that it had.
  private var vocabularyWarnings: [String] {
    guard directory == nil else { return vocabulary.warnings(tp: layout.tp) }
    let rows = configuration.vocabSize
    if rows == vocabulary.padded { return [] }
    return [
      "vocabulary: the run padded \(vocabulary.size) rows to \(rows), and this layout pads them to \(vocabulary.padded): "
        + (rows < vocabulary.padded
          ? "rows behind the run's are zeros." : "rows behind these, which stand for no token, are left out.")
    ]
  }

  private var biasWarnings: [String] {
    guard let first = table.unconfiguredBiases.first else { return [] }
    return [
      "\(first) and \(table.unconfiguredBiases.count - 1) other biases are in the files, though config.json doesn't say so: they are "
        + "served. transformers leaves them out; if the model has them, set attention_bias (or mlp_bias) to true there."
    ]
  }

  private var tyingWarnings: [String] {
    guard configuration.tieWordEmbeddings, !table.isTied else { return [] }
    return [table.family.untyingWarning + " The run needs --untie-embeddings-and-output-weights."]
  }

  private var foldingWarnings: [String] {
    let tensors = table.entries(of: .layer(0)) + table.entries(of: .finalNorm) + table.entries(of: .embedding)
    let isRounded = tensors.flatMap(\.sharding.contents).contains { content in
      if case .stored(let tensor) = content { !tensor.rounding.isExact } else { false }
    }
    guard isRounded, layout.dtype != .float32 else { return [] }
    return [
      "scalars that MDS doesn't know are folded into weights, which are rounded to \(layout.dtype.torchName) once more "
        + "(by up to \(layout.dtype == .bfloat16 ? "0.4" : "0.05") %). --masters source keeps the optimizer's weights exact to fp32."
    ]
  }

  /// ALCF's fork, and upstream's before FPDT, give torch's LayerNorm an argument that only apex's has (MDS
  /// `megatron/model/gpt_model.py`: `GPTModelPipe`).
  private func layerNormWarnings(_ run: RunArguments) -> [String] {
    // The extension mends it.
    guard table.architecture.normalization == .layerNorm, layout.engine == .pipeline, run.device != .cuda,
      flavor != .upstreamFPDT, table.architecture.extensionNeed != .always
    else { return [] }
    return [
      "LayerNorm in the pipeline engine on \(run.device.rawValue): MDS fails when it makes the model (sequence_parallel is no "
        + "argument of torch.nn.LayerNorm). Start it by python3 -m zerofs_megatron, with .zerofs of the mount on PYTHONPATH, run with "
        + "--no-pipeline-parallel, or on CUDA with apex."
    ]
  }
}
