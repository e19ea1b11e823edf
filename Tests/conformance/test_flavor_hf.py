"""--flavor hf: a transformers model resumes from the mount in real DeepSpeed, and the mount is what DeepSpeed saves."""
import contextlib
import io
import json
import math
import os
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import environment  # noqa: F401
from mounting import run

MODELS = ["llama_bf16", "llama_tied_bf16", "qwen2_bf16", "gpt2"]
CASES = [(model, zero) for model in MODELS for zero in (1, 2, 3) if (model, zero) != ("llama_tied_bf16", 2)]
CASES += [("llama_bf16", 0), ("llama_tied_bf16", 0), ("gpt2", 0)]
OPTIMIZERS = {0: "FP16_UnfusedOptimizer", 1: "DeepSpeedZeroOptimizer", 2: "DeepSpeedZeroOptimizer",
              3: "DeepSpeedZeroOptimizer_Stage3"}


def save_tiny(config, path: Path) -> Path:
    """A model with random weights, biases and norms too, so that an exchange of any two shows."""
    from transformers import AutoModelForCausalLM
    torch.manual_seed(3)
    model = AutoModelForCausalLM.from_config(config).to(torch.bfloat16)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.normal_(0.5, 0.1)
    model.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def models(golden: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    from transformers import GPT2Config
    made = tmp_path_factory.mktemp("models")
    gpt2 = GPT2Config(n_layer=2, n_head=4, n_embd=32, vocab_size=259, n_positions=64, bos_token_id=1, eos_token_id=2)
    return {model: golden / "hf" / model for model in MODELS} | {"gpt2": save_tiny(gpt2, made / "gpt2")}


def run_engine(program: str, cases: list[dict], scratch: Path, **environment: str) -> list[dict]:
    """What the program, transformers_engine.py or its like, says of the cases."""
    (scratch / "cases.json").write_text(json.dumps(cases))
    done = subprocess.run(
        [sys.executable, "-W", "ignore", Path(__file__).with_name(program), scratch / "cases.json", scratch / "out.json"],
        capture_output=True, text=True, env=os.environ | environment)
    assert done.returncode == 0, done.stderr[-6000:]
    return json.loads((scratch / "out.json").read_text())


def survived(result: dict) -> dict:
    """The result of an engine that did not die."""
    assert "error" not in result, result["error"]
    return result


@pytest.fixture(scope="module")
def results(models, zerofs, tmp_path_factory) -> Iterator[dict[tuple[str, int], tuple[dict, Path, Path]]]:
    """(model, stage) → what the engine said, the tree that it saved, the mount that it loaded."""
    from mounting import mounted
    scratch = tmp_path_factory.mktemp("hf")
    with contextlib.ExitStack() as stack:
        cases = []
        for model, zero in CASES:
            mountpoint = tmp_path_factory.mktemp("mnt")
            stack.enter_context(mounted(zerofs, models[model], mountpoint, "--flavor", "hf", "--dp", 2,
                                        "--zero-stage", zero))
            cases.append({"hf": str(models[model]), "zero": zero, "tree": str(mountpoint),
                          "save": str(scratch / f"{model}-{zero}")})
        said = run_engine("transformers_engine.py", cases, scratch)
        yield {key: (result, Path(case["save"]), Path(case["tree"]))
               for key, case, result in zip(CASES, cases, said)}


def assert_trains(result: dict) -> None:
    survived(result)
    assert result["differing_before"] == 2 * result["parameters"], "the engine's own random weights should differ"
    assert result["differing"] == []
    losses = result["losses"]
    assert all(map(math.isfinite, losses))
    assert losses[0] > losses[1] > losses[2] > 0, f"two steps on one batch must lower its loss: {losses}"


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}-z{case[1]}")
def test_loads_and_trains(case: tuple[str, int], results, measured) -> None:
    result, _, tree = results[case]
    assert result["loaded"].startswith(str(tree))
    assert result["optimizer"] == OPTIMIZERS[case[1]]
    measured(f"--flavor hf {case[0]} ZeRO {case[1]}: losses {result['losses']}")
    assert_trains(result)


def compare(oracle: Path, saved: Path, tree: Path, capsys) -> None:
    arguments, sys.argv = sys.argv, ["compare.py", str(saved), str(tree)]
    try:
        with pytest.raises(SystemExit) as exit:
            runpy.run_path(str(oracle / "compare.py"), run_name="__main__")
    finally:
        sys.argv = arguments
    assert exit.value.code == 0, capsys.readouterr().out


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}-z{case[1]}")
def test_is_what_deepspeed_saves(case: tuple[str, int], results, oracle: Path, capsys) -> None:
    _, saved, tree = results[case]
    compare(oracle, saved, tree, capsys)


def test_parameter_order_of_another_family(zerofs: Path, models, tmp_path: Path, oracle: Path, mount, capsys) -> None:
    """Bloom, whose order zerofs doesn't know, through the program that zerofs prints."""
    from transformers import BloomConfig
    hf = save_tiny(BloomConfig(hidden_size=32, n_layer=2, n_head=4, vocab_size=259), tmp_path / "hf")
    refused = run(zerofs, "plan", hf, "--flavor", "hf")
    assert refused.returncode == 15 and "bloom" in refused.stderr and "zerofs parameter-order" in refused.stderr
    order = tmp_path / "order.json"
    done = parameter_order(zerofs, hf, order)
    assert done.returncode == 0, done.stderr
    with mount(hf, "--flavor", "hf", "--dp", 2, "--zero-stage", 2, "--parameter-order", order) as m:
        [result] = run_engine("transformers_engine.py", [
            {"hf": str(hf), "zero": 2, "tree": str(m.path), "save": str(tmp_path / "saved")}], tmp_path)
        compare(oracle, tmp_path / "saved", m.path, capsys)
    assert_trains(result)


ACCELERATE = """
import json, sys
import environment, torch
from accelerate import Accelerator, DeepSpeedPlugin
from transformers import AutoConfig, AutoModelForCausalLM
hf, directory = sys.argv[1:]
accelerator = Accelerator(deepspeed_plugin=DeepSpeedPlugin(hf_ds_config={
    "train_micro_batch_size_per_gpu": 2, "bf16": {"enabled": True}, "zero_optimization": {"stage": 1}}))
model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(hf), dtype=torch.bfloat16)
engine, optimizer = accelerator.prepare(model, torch.optim.AdamW(model.parameters(), lr=5e-5))
accelerator.load_state(directory)
wanted = AutoModelForCausalLM.from_pretrained(hf, dtype=torch.bfloat16).parameters()
[master] = engine.optimizer.single_partition_of_fp32_groups
differing = [not torch.equal(p, w) for p, w in zip(engine.module.parameters(), wanted, strict=True)]
flat = torch.cat([p.detach().float().flatten() for p in engine.module.parameters()])
print(json.dumps([len(differing), sum(differing), torch.equal(master[:len(flat)], flat),
                  [group["lr"] for group in optimizer.param_groups]]))
"""


def test_accelerate_resumes(models, tmp_path: Path, zerofs: Path, mount) -> None:
    """From its own tag; the rate that plan warns of is the checkpoint's."""
    from deepspeed_load import free_port
    with mount(models["llama_bf16"], "--flavor", "hf") as m:
        (tmp_path / "pytorch_model").symlink_to(m.path / "global_step0")
        alone = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1",
                 "MASTER_PORT": str(free_port()), "ACCELERATE_USE_DEEPSPEED": "true",
                 "PYTHONPATH": str(Path(__file__).parent)}
        done = subprocess.run([sys.executable, "-W", "ignore", "-c", ACCELERATE, models["llama_bf16"], tmp_path],
                              capture_output=True, text=True, env=os.environ | alone)
    assert done.returncode == 0, done.stderr[-6000:]
    assert json.loads(done.stdout.splitlines()[-1]) == [39, 0, True, [1e-3]]
    assert "lr 0.001" in run(zerofs, "plan", models["llama_bf16"], "--flavor", "hf").stdout


def parameter_order(zerofs: Path, hf: Path, order: Path) -> subprocess.CompletedProcess[str]:
    """Runs the program that zerofs prints."""
    program = run(zerofs, "parameter-order").stdout
    done = subprocess.run([sys.executable, "-W", "ignore", "-", hf], input=program, text=True, capture_output=True)
    order.write_text(done.stdout)
    return done


def test_weights_that_are_computed_are_refused(zerofs: Path, tmp_path: Path) -> None:
    """Mixtral, whose experts' weights transformers stacks when it loads them."""
    from transformers import MixtralConfig
    hf = save_tiny(MixtralConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=4, num_key_value_heads=2,
                                 intermediate_size=64, vocab_size=259, num_local_experts=2), tmp_path / "hf")
    order = tmp_path / "order.json"
    done = parameter_order(zerofs, hf, order)
    assert done.returncode == 1 and "more than a renaming" in done.stderr and "experts.0" in done.stderr, done.stderr
    refused = run(zerofs, "plan", hf, "--flavor", "hf", "--parameter-order", order)
    assert refused.returncode == 10 and str(order) in refused.stderr, refused.stderr


def family(name: str):
    """A tiny configuration; sizes as in the family's own."""
    from transformers import AutoConfig
    sizes = ({"n_layer": 2, "n_head": 4, "n_embd": 32, "n_positions": 64} if name in ("gpt2", "gpt_bigcode") else
             {"n_layer": 2, "n_head": 4, "n_embd": 32, "n_positions": 64, "rotary_dim": 4} if name == "gptj" else
             {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4} if name == "falcon" else
             {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "ffn_dim": 64, "word_embed_proj_dim": 32,
              "max_position_embeddings": 64} if name == "opt" else
             {"hidden_size": 32, "num_layers": 2, "num_heads": 4, "max_position_embeddings": 64,
              "attention_types": [[["global", "local"], 1]]} if name == "gpt_neo" else
             {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
              "intermediate_size": 64, "max_position_embeddings": 64, "head_dim": 8})
    return AutoConfig.for_model(name, vocab_size=259, bos_token_id=1, eos_token_id=2, pad_token_id=None, **sizes)


FAMILIES = ["llama", "mistral", "qwen2", "qwen3", "gpt2"]
# What their own golden models don't show here: names and orders.
OTHERS = ["seed_oss", "phi3", "granite", "helium", "ernie4_5", "glm", "arcee", "jais2", "nemotron", "stablelm", "olmo",
          "gpt_bigcode", "gpt_neo", "gpt_neox", "starcoder2", "ministral", "gemma", "gemma2", "gemma3_text", "olmo2", "olmo3",
          "exaone4", "glm4", "smollm3", "phi", "gptj", "falcon", "cohere", "cohere2", "opt"]
VARIANTS = {"": {}, "tied": {"tie_word_embeddings": True}, "untied": {"tie_word_embeddings": False},
            "biased": {"attention_bias": True, "mlp_bias": True}}


@pytest.fixture(scope="module")
def order_of(zerofs: Path, tmp_path_factory):
    """The program that zerofs prints, in this process: transformers is imported once."""
    program = tmp_path_factory.mktemp("order") / "order.py"
    program.write_text(run(zerofs, "parameter-order").stdout)

    def order(hf: Path) -> dict:
        arguments, sys.argv = sys.argv, [str(program), str(hf)]
        try:
            with contextlib.redirect_stdout(io.StringIO()) as written:
                runpy.run_path(str(program), run_name="__main__")
        finally:
            sys.argv = arguments
        return json.loads(written.getvalue())
    return order


@pytest.mark.parametrize("name, variant", [(name, variant) for name in FAMILIES for variant in VARIANTS]
                         + [(name, variant) for name in OTHERS for variant in ("tied", "untied")])
def test_known_families_are_as_transformers_makes_them(name: str, variant: str, tmp_path: Path, order_of,
                                                       mount) -> None:
    """Names, order and values, from files with and without the prefix of the base model, against from_pretrained's and
    against what the program of parameter-order says."""
    from safetensors.torch import load_file, save_file
    from transformers import AutoModelForCausalLM, Trainer
    config = family(name)
    for attribute, value in VARIANTS[variant].items():
        setattr(config, attribute, value)
    hf, file = save_tiny(config, tmp_path / "hf"), tmp_path / "order.json"
    prefix = AutoModelForCausalLM.from_config(config).base_model_prefix + "."
    weights = load_file(hf / "model.safetensors")
    for strip in ("", prefix):  # the second as a bare base model has it: GPT-2 of the Hub
        stored = {key.removeprefix(strip): value for key, value in weights.items()}
        save_file(stored, hf / "model.safetensors", metadata={"format": "pt"})
        model = AutoModelForCausalLM.from_pretrained(hf, dtype=torch.bfloat16)
        order = order_of(hf)
        renamed = {"lm_head.weight": "embed_out.weight"} if "embed_out.weight" in stored else {}
        assert order["files"] == {prefix + key: key for key in stored if strip and prefix + key in weights} | renamed
        file.write_text(json.dumps(order))
        for given in [(), ("--parameter-order", file)]:
            with mount(hf, "--flavor", "hf", "--zero-stage", 2, *given) as m:
                saved = torch.load(m.path / "global_step0/mp_rank_00_model_states.pt", weights_only=False)
            assert list(saved["module"]) == list(model.state_dict())
            assert all(torch.equal(saved["module"][key], value) for key, value in model.state_dict().items())
            [shapes] = saved["param_shapes"]
            assert list(shapes.items()) == [(key, p.shape) for key, p in model.named_parameters()]
            with mount(hf, "--flavor", "trainer", "--zero-stage", 2, *given) as m:
                saved = torch.load(m.path / "global_step0/mp_rank_00_model_states.pt", weights_only=False)
            decaying = set(Trainer.get_decay_parameter_names(None, model))
            assert [list(shapes) for shapes in saved["param_shapes"]] == [
                [key for key, _ in model.named_parameters() if (key in decaying) == decays] for decays in (True, False)]


def only_head(weights: dict, config) -> None:
    weights["lm_head.weight"] = weights.pop("model.embed_tokens.weight")


def integers_beside(weights: dict, config) -> None:
    weights["a.position_ids"] = torch.arange(8)


def unconfigured_biases(weights: dict, config) -> None:
    for layer in range(config.num_hidden_layers):
        weights[f"model.layers.{layer}.self_attn.q_proj.bias"] = torch.ones(config.hidden_size, dtype=torch.bfloat16)


def another_head(weights: dict, config) -> None:
    weights["lm_head.weight"] = weights["model.embed_tokens.weight"] + 1


@pytest.mark.parametrize("change, warning", [
    (only_head, ""), (integers_beside, ""), (unconfigured_biases, "they are left out"), (another_head, "untied")])
def test_files_beside_the_configuration(change, warning: str, zerofs: Path, mount, tmp_path: Path) -> None:
    """What people's files hold otherwise than config.json says, as from_pretrained takes it."""
    from safetensors.torch import load_file, save_file
    from transformers import AutoModelForCausalLM
    config = family("llama")
    config.tie_word_embeddings = True
    hf = save_tiny(config, tmp_path / "hf")
    weights = load_file(hf / "model.safetensors")
    change(weights, config)
    save_file(weights, hf / "model.safetensors", metadata={"format": "pt"})
    expected = AutoModelForCausalLM.from_pretrained(hf, dtype=torch.bfloat16).state_dict()
    said = run(zerofs, "plan", hf, "--flavor", "hf").stderr
    assert warning in said and bool(warning) == bool(said)
    with mount(hf, "--flavor", "hf") as m:
        module = torch.load(m.path / "global_step0/mp_rank_00_model_states.pt", weights_only=False)["module"]
    assert list(module) == list(expected)
    assert all(torch.equal(module[name], value) for name, value in expected.items())
    with mount(hf) as m:
        [embedding] = [torch.load(path, weights_only=False)["word_embeddings.weight"]
                       for path in m.path.glob("global_step0/layer_01-*")]
    rows = expected["model.embed_tokens.weight"]
    assert torch.equal(embedding[:len(rows)], rows)


def test_a_missing_bias_is_an_error(zerofs: Path, tmp_path: Path) -> None:
    """transformers would make up what config.json names and the files lack."""
    hf = save_tiny(family("llama"), tmp_path / "hf")
    config = json.loads((hf / "config.json").read_text())
    (hf / "config.json").write_text(json.dumps(config | {"attention_bias": True}))
    done = run(zerofs, "plan", hf, "--flavor", "hf")
    assert done.returncode == 5 and "self_attn.q_proj.bias" in done.stderr


def test_refusals(zerofs: Path, models, tmp_path: Path) -> None:
    order = tmp_path / "order.json"
    known = '"state_dict": ["a", "b"], "parameters": ["a", "b"], "tied": {}'
    for content, word in [("{}", "state_dict"), ('{"state_dict": ["a"], "parameters": ["b"], "tied": {}}', "b is in"),
                          (f'{{{known}, "files": {{"c": "x"}}}}', "c is in files"),
                          (f'{{{known}, "files": {{"a": "x", "b": "x"}}}}', "files has x for both a and b")]:
        order.write_text(content)
        done = run(zerofs, "plan", models["gpt2"], "--flavor", "hf", "--parameter-order", order)
        assert done.returncode == 10 and word in done.stderr, done.stderr
    for options, word in [(("--tp", 2), "--tp 2"), (("--pp", 2), "--pp 2"), (("--sp", 2), "--sp 2"),
                          (("--vocab-padding", "mean"), "--vocab-padding"),
                          (("--universal-checkpoint",), "--universal"), (("--train-args", "x y"), "--train-args")]:
        done = run(zerofs, "plan", models["gpt2"], "--flavor", "hf", *options)
        assert done.returncode == 4 and word in done.stderr, done.stderr
