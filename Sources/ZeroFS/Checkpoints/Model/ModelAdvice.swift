import Bytes
import HuggingFace
import Run

/// What a user should know of a model in MDS: things that are served and may still surprise.
extension MegatronModel {
  /// - Throws: `ModelError.sequenceLength` where MDS computes something else for sequences of this length.
  func check(sequenceLength: Int?) throws(ModelError) {
    guard let sequenceLength else { return }
    for limit in table.architecture.sequenceLimits where sequenceLength > limit.tokens {
      throw .sequenceLength(
        sequenceLength, limit, path: directory?.configurationFile.path ?? "the run's model")
    }
  }

  func warnings(_ run: RunArguments) -> [String] {
    [
      sourceWarnings, table.architecture.warnings, unknownSequenceWarnings(run), biasWarnings, tyingWarnings,
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

  /// Limits that the run may exceed without anyone knowing.
  private func unknownSequenceWarnings(_ run: RunArguments) -> [String] {
    guard run.int("seq_length") == nil else { return [] }
    return table.architecture.sequenceLimits.filter { $0.tokens < configuration.maxPositionEmbeddings }.map {
      "\($0.feature): MDS computes this model for sequences of up to \($0.tokens) tokens. Longer ones are computed otherwise "
        + "than in training; --train-args with --seq-length shows that they aren't."
    }
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
    return [
      "\(table.family.outputLayer) differs from the embedding to which config.json ties it: the model is served untied, as "
        + "transformers 5 computes it. The run needs --untie-embeddings-and-output-weights."
    ]
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
    guard table.architecture.normalization == .layerNorm, layout.engine == .pipeline, run.device != .cuda,
      flavor != .upstreamFPDT
    else { return [] }
    return [
      "LayerNorm in the pipeline engine on \(run.device.rawValue): MDS fails when it makes the model (sequence_parallel is no "
        + "argument of torch.nn.LayerNorm). Run with --no-pipeline-parallel, or on CUDA with apex."
    ]
  }
}
