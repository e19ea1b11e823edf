import ArgumentParser

/// `zerofs parameter-order`: how to make the file of `--parameter-order`.
struct ParameterOrderCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "parameter-order",
    abstract: "Print a Python program that writes the file of --parameter-order.",
    discussion: """
      The program needs transformers and reads no weights:  zerofs parameter-order | python3 - HF_DIR > order.json
      """)

  // A tied parameter has one object and several names, of which the first holds it.
  private static let program = """
    import json, sys, torch
    from transformers import AutoConfig, AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(sys.argv[1]))
    model.tie_weights()
    parameters = {name: id(p) for name, p in model.named_parameters(remove_duplicate=False)}
    first = {key: name for name, key in reversed(parameters.items())}
    json.dump({
        "state_dict": list(model.state_dict()),
        "parameters": [name for name, _ in model.named_parameters()],
        "tied": {name: first[key] for name, key in parameters.items() if first[key] != name},
    }, sys.stdout, indent=1)
    """

  func run() { print(Self.program) }
}
