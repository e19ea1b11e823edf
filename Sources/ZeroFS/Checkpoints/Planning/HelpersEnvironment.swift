import Bytes
import HuggingFace
import Run

/// The same for the launch scripts of ALCF's fork, whose `ALCF/helpers.sh` makes a command line of environment variables
/// (`setParams`, `set_args`, `setup_run_cmd`): what its variables say, what goes behind the script's name, and what it can't say.
struct HelpersEnvironment {
  private(set) var variables: [(name: String, value: String)] = []
  /// Behind the script: `bash train_alcf.sh "${ARGS[@]}"`.
  private(set) var arguments: [MegatronCommandLine.Argument] = []
  private(set) var limits: [String] = []
  private let notes: [String]

  /// Its variables, by the attribute of MDS's that they become.
  private static let names = [
    "num_layers": "NLAYERS", "hidden_size": "HIDDEN", "num_attention_heads": "HEADS",
    "num_key_value_heads": "NUM_KV_HEAD", "ffn_hidden_size": "FFN_HIDDEN_SIZE", "rope_theta": "ROPE_THETA",
    "tensor_model_parallel_size": "TP", "pipeline_model_parallel_size": "PP",
    "ds_sequence_parallel_size": "SP",
    "zero_stage": "ZERO_STAGE",
  ]
  /// What it passes for every model, or decides by itself.
  private static let always: Set = [
    "deepspeed", "bf16", "fp16", "no_pipeline_parallel", "max_position_embeddings", "bias_gelu_fusion",
  ]
  /// What it passes without `NO_LLAMA`, and what else goes with it then.
  static let ofLlama: [String: ArgumentValue] = [
    "swiglu": .bool(true), "normalization": .string("rmsnorm"), "add_bias_linear": .bool(false),
    "use_rotary_position_embeddings": .bool(true), "untie_embeddings_and_output_weights": .bool(true),
    "hidden_dropout": .float(0), "attention_dropout": .float(0),
    "apply_query_key_layer_scaling": .bool(false),
  ]
  private static let ofLlamaToo: Set = ["num_key_value_heads", "ffn_hidden_size"]

  init(_ line: MegatronCommandLine) {
    notes = line.notes
    let facts = line.facts
    let isLlama = facts.allSatisfy { fact in
      HelpersEnvironment.ofLlama[fact.name].map { $0.equals(fact.value) } ?? true
    }
    if !isLlama { variables.append(("NO_LLAMA", "1")) }
    let written = Set(line.arguments.map(\.argument))
    for fact in facts where !HelpersEnvironment.always.contains(fact.name) {
      let isPassed = isLlama || !HelpersEnvironment.ofLlamaToo.contains(fact.name)
      if let name = HelpersEnvironment.names[fact.name] {
        variables.append((name, fact.value.pythonDescription))
        if isPassed { continue }
      }
      guard let flag = fact.words.first, written.contains(flag) else { continue }
      if isLlama && HelpersEnvironment.ofLlama[fact.name] != nil { continue }
      arguments.append(.init(fact.words, fact.kind, otherwise: fact.otherwise))
    }
    addDType(line.model)
    addTokenizer(line.tokenizer)
    limits = HelpersEnvironment.limits(line.model)
  }

  private mutating func addDType(_ model: MegatronModel) {
    let dtype = CheckpointOptions.Precision.allCases.first { $0.dtype == model.layout.dtype }
    variables.append(("DTYPE", dtype?.rawValue ?? "bf16"))
  }

  /// Its own default is google/gemma-7B.
  private mutating func addTokenizer(_ tokenizer: [MegatronCommandLine.Argument]) {
    for argument in tokenizer {
      switch argument.argument {
      case "--tokenizer-type": variables.append(("TOKENIZER_TYPE", argument.values[0]))
      case "--tokenizer-model": variables.append(("TOKENIZER_MODEL", argument.values[0]))
      default: arguments.append(argument)
      }
    }
  }

  private static func limits(_ model: MegatronModel) -> [String] {
    let layout = model.layout
    var limits: [String] = []
    if layout.dtype == .float32 { limits.append("fp32: it writes --${DTYPE}, and MDS has no --fp32") }
    if (layout.pp == 1) != (layout.engine == .noPipeline) {
      limits.append(
        layout.pp == 1
          ? "the pipeline engine at PP=1: it writes --no-pipeline-parallel there; mount with that"
          : "--no-pipeline-parallel at PP=\(layout.pp): it has that at PP=1 only")
    }
    if case .learned = model.table.architecture.positions {
      let positions = model.configuration.maxPositionEmbeddings
      limits.append(
        positions.isMultiple(of: 16)
          ? "--max-position-embeddings \(positions) but with SEQ=\(positions / 16): it writes 16 times SEQ"
          : "--max-position-embeddings \(positions): it writes 16 times SEQ")
    }
    return limits
  }

  /// A text for bash's `source`.
  var text: String {
    let exports = variables.map { "export \($0.name)=\($0.value.shellQuoted)" }
    let words = arguments.map { "  \($0.text)  # \($0.kind.rawValue): \($0.otherwise)" }
    return
      (notes.map { "# \($0)" } + ["unset MODEL_ARCH  # its presets replace the sizes"] + exports
      + [
        "# LOAD=MOUNTPOINT, and SAVE=DIR beside it: by default both are one directory.",
        "# It writes --use-checkpoint-opt_param-scheduler, for which the mount needs --train-args; else export",
        "# OVERRIDE_CKPT_OPT_PARAM=1 and add --override-opt_param-scheduler --no-load-rng to ARGS.",
        "# bash train_alcf.sh \"${ARGS[@]}\"", "ARGS=(",
      ] + words + [")"] + limits.map { "# can't say \($0)" }).joined(separator: "\n")
  }
}
