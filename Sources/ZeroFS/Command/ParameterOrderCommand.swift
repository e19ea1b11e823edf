import ArgumentParser
import Checkpoints

/// `zerofs parameter-order`: how to make the file of `--parameter-order`.
struct ParameterOrderCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "parameter-order",
    abstract: "Print a Python program that writes the file of --parameter-order.",
    discussion: """
      The program needs transformers and reads no weights:  zerofs parameter-order | python3 - HF_DIR > order.json

      The file also names the tensors of HF_DIR that transformers renames when it loads them. A model that it computes \
      from them in other ways (stacked experts, say) can't be served, and the program says so.
      """)

  // A tied parameter has one object and several names, of which the first holds it. Which tensor of the files a name is, is
  // asked as from_pretrained asks (transformers `core_model_loading.py`: `convert_and_load_state_dict_in_model`).
  private static let program = """
    import json, sys
    from pathlib import Path

    import torch
    from safetensors import safe_open
    from transformers import AutoConfig, AutoModelForCausalLM, Trainer

    hf = Path(sys.argv[1])
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(hf))
    model.tie_weights()
    state = model.state_dict()
    parameters = {name: id(p) for name, p in model.named_parameters(remove_duplicate=False)}
    first = {key: name for name, key in reversed(parameters.items())}

    if (hf / "model.safetensors").exists():
        with safe_open(hf / "model.safetensors", "pt") as file:
            stored = list(file.keys())
    else:
        stored = list(json.loads((hf / "model.safetensors.index.json").read_text())["weight_map"])
    files = {}
    try:
        from transformers.conversion_mapping import get_model_conversion_mapping
        from transformers.core_model_loading import WeightConverter, dot_natural_key, rename_source_key
    except ImportError:
        pass  # transformers 4 loads what has the module's name, but for a prefix, which zerofs tries
    else:
        transforms = get_model_conversion_mapping(model)
        converters = [t for t in transforms if isinstance(t, WeightConverter)]
        renamings = [t for t in transforms if not isinstance(t, WeightConverter)]
        for tensor in sorted(stored, key=dot_natural_key):
            prefix = model.base_model_prefix
            name, converted = rename_source_key(tensor, renamings, converters, prefix, state)
            if name not in state and tensor in state:
                name, converted = rename_source_key(tensor, [], [], prefix, state)
            if name in state and converted is not None:
                sys.exit(f"{tensor}: transformers computes {name} from it (by the rule for {converted}), which is more than "
                         "a renaming. zerofs serves tensors as they are in the files, so it can't serve this model.")
            if name in state:
                files.setdefault(name, tensor)
    decaying = set(Trainer.get_decay_parameter_names(None, model))
    json.dump({
        "state_dict": list(state),
        "parameters": [name for name, _ in model.named_parameters()],
        "tied": {name: first[key] for name, key in parameters.items() if first[key] != name},
        "files": {name: tensor for name, tensor in files.items() if name != tensor},
        "without_weight_decay": [name for name, _ in model.named_parameters() if name not in decaying],
    }, sys.stdout, indent=1)
    """

  func run() throws { try reporting { try output(Self.program) } }
}
