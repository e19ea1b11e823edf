/// How a run is started that MDS can't compute alone: the lines to run.
extension MegatronClient {
  var extensionLines: [String] {
    let architecture = model.table.architecture
    switch architecture.extensionNeed {
    case .never: return []
    case .beyondLimits:
      let limits = architecture.sequenceLimits.map { "\($0.tokens) (\($0.feature))" }.joined(separator: ", ")
      return ["", "sequences of more tokens than \(limits) need \(architecture.spec.summary):"] + launch
    case .always: return ["", "MDS needs \(architecture.spec.summary); MNT is the mount:"] + launch
    }
  }

  private var script: String { model.flavor == .alcf ? "pretrain_gpt_alcf.py" : "pretrain_gpt.py" }

  private var launch: [String] {
    let start =
      "  PYTHONPATH=MNT/.zerofs mpiexec -n \(layout.worldSize) python3 -m zerofs_megatron \(script) \\"
    if run.isGiven { return [start, "    ARGS…    # the run's own, as --train-args has them"] }
    let flags =
      ["--load MNT", "--finetune", "--deepspeed"]
      + ArgumentFact.all(model).filter { !$0.words.isEmpty && $0.name != "deepspeed" }
      .map(\.flag)
    return [
      start,
      wrapped(flags + ["ARGS…"]).map { "    \($0)" }.joined(separator: " \\\n")
        + "    # data, tokenizer, batch, learning rate, --deepspeed_config",
    ]
  }

  /// Lines of at most 120 characters, with what stands around them.
  private func wrapped(_ words: [String]) -> [String] {
    var lines: [String] = []
    for word in words {
      if let last = lines.last, last.count + word.count < 118 {
        lines[lines.count - 1] = "\(last) \(word)"
      } else {
        lines.append(word)
      }
    }
    return lines
  }
}
