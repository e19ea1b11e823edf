import Bytes
import HuggingFace
import Run

/// The same for ALCF's `ALCF/examples/finetune_llama3/finetune_llama.sh`, which reads a Llama's sizes in `$MODEL_NAME/config.json`,
/// sets what it loads and the tokenizer by itself, and has neither epsilon nor theta: what its variables say, which of its lines
/// have to be others, and what it can't say.
struct FinetuneScript {
  private static let path = "ALCF/examples/finetune_llama3/finetune_llama.sh"
  /// What it passes for every model, or reads itself.
  private static let own: Set = [
    "num_layers", "hidden_size", "ffn_hidden_size", "num_attention_heads", "num_key_value_heads",
    "max_position_embeddings",
    "tensor_model_parallel_size", "pipeline_model_parallel_size", "zero_stage", "deepspeed", "bf16",
    "bias_gelu_fusion",
  ]

  private let notes: [String]
  private let variables: [(name: String, value: String)]
  private let arguments: [MegatronCommandLine.Argument]
  private let tokenizer: [MegatronCommandLine.Argument]
  private let limits: [String]

  init(_ line: MegatronCommandLine) {
    notes = line.notes
    let layout = line.model.layout
    variables = [
      ("MODEL_NAME", line.model.directory?.path ?? ""), ("TP", "\(layout.tp)"), ("PP", "\(layout.pp)"),
      ("ZERO_STAGE", "\(layout.zeroStage)"),
    ]
    let written = Set(line.arguments.map(\.argument))
    arguments = line.facts.compactMap { fact in
      guard let flag = fact.words.first, written.contains(flag), !FinetuneScript.own.contains(fact.name),
        HelpersEnvironment.ofLlama[fact.name] == nil
      else { return nil }
      return MegatronCommandLine.Argument(fact.words, fact.kind, otherwise: fact.otherwise)
    }
    tokenizer = line.tokenizer
    var limits: [String] = []
    for fact in line.facts {
      if let llama = HelpersEnvironment.ofLlama[fact.name], !llama.equals(fact.value) {
        limits.append("\(fact.name) \(fact.value.pythonDescription): it passes what makes a Llama")
      }
    }
    if layout.dtype != .bfloat16 { limits.append("another type than bf16") }
    if layout.engine == .noPipeline { limits.append("--no-pipeline-parallel: it uses the pipeline engine") }
    self.limits = limits
  }

  /// A text for bash's `source`, in MDS's directory.
  var text: String {
    let added = arguments + tokenizer
    let edits = [
      #"s|^CKPT_DIR=.*|CKPT_DIR="${MNT}"|"#, "s|^TB_DIR=.*|TB_DIR=tensorboard-output|",
      #"/"--tokenizer-\(type\|model\)=/d"#,
      #"/"--repeated-dataloader"/a\  "#
        + added.map { #"""# + $0.text.replacing(#"\"#, with: #"\\"#) + #"""# }.joined(separator: #"\n  "#),
    ]
    return
      (notes.map { "# \($0)" } + variables.map { "export \($0.name)=\($0.value.shellQuoted)" }
      + arguments.map { "# added: \($0.text): \($0.otherwise)" }
      + [
        "# Its lines to change; MNT is the mount, to be exported. Files of tensorboard would go beside the checkpoint.",
        "sed -i \\",
      ]
      + edits.map { "  -e \($0.shellQuoted) \\" } + ["  \(FinetuneScript.path)"]
      + limits.map { "# can't say \($0)" }).joined(separator: "\n")
  }
}
