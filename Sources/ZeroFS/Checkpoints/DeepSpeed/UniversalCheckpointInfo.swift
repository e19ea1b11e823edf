import Torch

/// `universal_checkpoint_info`: what DeepSpeed's `ds_to_universal` must know of a model (MDS `megatron/model/gpt_model.py`:
/// `UniversalCheckpointInfo` of `GPTModel` and `GPTModelPipe`). Patterns are regular expressions over parameter names.
struct UniversalCheckpointInfo: Sendable {
  let value: PickleValue

  init(_ model: MegatronModel, version: DeepSpeedVersion) {
    let isPipeline = model.layout.engine == .pipeline
    let layer = isPipeline ? "\\d+." : "language_model.encoder.layers.\\d+."
    let norm = isPipeline ? "\\d+.weight" : "language_model.encoder.final_layernorm.weight"
    let embedding =
      isPipeline
      ? (model.isTied ? "tied_modules.embed.word_embeddings.weight" : "\\d+.word_embeddings.weight")
      : "language_model.embedding.word_embeddings.weight"
    let head = isPipeline ? "\\d+.lm_head.weight" : "language_model.output_layer.weight"
    func strings(_ texts: [String]) -> PickleValue { .list(texts.map { .string($0) }) }

    var members: [(String, PickleValue)] = [
      ("universal_checkpoint_version", .float(version.universalCheckpointVersion)),
      ("original_vocab_size", .int(model.vocabulary.size)),
      ("padded_vocab_size", .int(model.vocabulary.padded)),
      ("vocabulary_parameter_patterns", strings([embedding] + (model.isTied ? [] : [head]))),
    ]
    if isPipeline {
      members.append(("pipeline_replicated_parameter_patterns", strings(model.isTied ? [embedding] : [])))
    }
    if model.layout.tp > 1 {
      members += [
        (
          "tp_replicated_parameter_patterns",
          strings([layer + "input_layernorm.weight", layer + "post_attention_layernorm.weight", norm])
        ),
        (
          "parameter_with_row_parallelism_patterns",
          strings([layer + "mlp.dense_4h_to_h.weight", layer + "self_attention.dense.weight"])
        ),
      ]
    }
    members.append(("parameter_with_2_sub_params_cat_dim_0", strings([layer + "mlp.dense_h_to_4h.weight"])))
    value = .dict(members)
  }
}
