"""zerofs args and check: what a model needs of MDS's command line, and what a command line has otherwise."""
import json
import shlex
import subprocess
from pathlib import Path

import pytest

from conftest import SHARED
from megatron_args import command_line
from mounting import run

CASES = json.loads((SHARED / "golden/cases.json").read_text())
NAME = "llama-pipe-tp2pp2dp2-z1-bf16"
MODELS = sorted([*(SHARED / "golden/hf").iterdir(), *(SHARED / "golden/families/hf").iterdir()], key=lambda p: p.name)
# What is the user's: nothing of it is in the output.
OF_THE_RUN = "--seq-length 32 --micro-batch-size 1 --train-iters 10 --lr 1e-4 --optimizer adamw"
LAYOUTS = [("--tp", 2, "--pp", 2, "--dp", 2), ("--zero-stage", 2, "--no-pipeline-parallel")]


def printed(zerofs: Path, hf: Path, *options: object) -> str:
    done = run(zerofs, "args", hf, *options)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("layout", LAYOUTS, ids=["pipe", "nopipe"])
@pytest.mark.parametrize("hf", MODELS, ids=lambda p: f"{p.parent.parent.name}-{p.name}")
def test_what_args_prints_is_without_contradiction(hf: Path, layout: tuple, zerofs: Path, tmp_path: Path) -> None:
    file = tmp_path / "model.args"
    file.write_text(printed(zerofs, hf, *layout) + OF_THE_RUN + "\n")
    dp = layout[layout.index("--dp"):][:2] if "--dp" in layout else ()
    checked = run(zerofs, "check", hf, *dp, "--train-args", file, "--strict")
    assert (checked.returncode, checked.stdout) == (0, "nothing contradicts the model\n"), checked.stderr
    plan = run(zerofs, "plan", hf, *dp, "--train-args", file, "--json")
    assert plan.returncode == 0, plan.stderr
    same = json.loads(run(zerofs, "plan", hf, *layout, "--json").stdout)["layout"]
    assert json.loads(plan.stdout)["layout"] == same


@pytest.mark.parametrize("hf", MODELS, ids=lambda p: f"{p.parent.parent.name}-{p.name}")
def test_every_argument_is_needed(hf: Path, zerofs: Path, tmp_path: Path) -> None:
    """Without one of them, MDS's default is another."""
    lines = [line for line in printed(zerofs, hf, "--tp", 2).splitlines() if not line.startswith("#")]
    asked = {"--tokenizer-type", "--tokenizer-model", "--vocab-size", "--max-position-embeddings"}      # by MDS itself
    of_the_layout = {"--tensor-model-parallel-size", "--bf16", "--fp16", "--make-vocab-size-divisible-by"}
    for line in lines:
        flag = line.split()[0]
        if flag in asked | of_the_layout:
            continue
        file = tmp_path / "model.args"
        # The fused kernel has the same approximation, and launch scripts turn it off.
        unfused = "--no-bias-gelu-fusion" if flag == "--openai-gelu" else ""
        file.write_text("\n".join([*(other for other in lines if other != line), OF_THE_RUN, unfused]))
        done = run(zerofs, "check", hf, "--train-args", file, "--strict", "--json")
        found = json.loads(done.stdout)
        assert done.returncode == 10 and found, f"{flag} changes nothing"


def without(words: list[str], *flags: str) -> list[str]:
    kept, skip = [], False
    for word in words:
        skip = word in flags or skip and not word.startswith("--")
        if not skip:
            kept.append(word)
    return kept


# What is changed; what check says of it; its status, and that with --strict.
WRONG = [
    (["--hidden-dropout"], [], "hidden_dropout", "choice", 0),
    (["--attention-dropout"], [], "attention_dropout", "choice", 0),
    (["--no-query-key-layer-scaling"], [], "apply_query_key_layer_scaling", "choice", 0),
    ([], ["--fp32-residual-connection"], "fp32_residual_connection", "stops", 10),
    ([], ["--openai-gelu"], "openai_gelu", "stops", 10),
    (["--seq-length", "--max-position-embeddings"], ["--seq-length", "1024", "--max-position-embeddings", "1024"],
     "seq_length", "choice", 0),
    (["--max-position-embeddings"], ["--max-position-embeddings", "16"], "max_position_embeddings", "stops", 10),
    (["--layernorm-epsilon"], ["--layernorm-epsilon", "1e-6"], "layernorm_epsilon", "loss", 10),
    ([], ["--rotary-percent", "0.5"], "rotary_percent", "loss", 10),
    (["--rotary-position-embeddings-theta"], ["--rotary-position-embeddings-theta", "50000"], "rope_theta", "loss", 10),
    ([], ["--apply-residual-connection-post-layernorm"], "apply_residual_connection_post_layernorm", "loss", 10),
    (["--vocab-size"], ["--vocab-size", "1000"], "padded_vocab_size", "stops", 10),
    (["--deepspeed"], [], "deepspeed", "stops", 10),
]


@pytest.mark.parametrize("old, new, argument, kind, status", WRONG, ids=[w[2] for w in WRONG])
def test_check_says_what_goes_wrong(old: list[str], new: list[str], argument: str, kind: str, status: int, golden: Path,
                                    oracle: Path, zerofs: Path) -> None:
    case = CASES[NAME]
    hf = golden / "hf" / case["hf"]
    words = command_line(oracle, golden, case)
    right = run(zerofs, "check", hf, "--strict", "--train-args", shlex.join(words))
    assert right.returncode == 0, right.stdout + right.stderr
    changed = shlex.join(without(words, *old) + new)
    done = run(zerofs, "check", hf, "--json", "--train-args", changed)
    assert [(f["argument"], f["kind"]) for f in json.loads(done.stdout)] == [(argument, kind)], done.stderr
    assert done.returncode == status
    assert run(zerofs, "check", hf, "--strict", "--train-args", changed).returncode == 10
    plan = run(zerofs, "plan", hf, "--dp", 2, "--train-args", changed)      # the same function
    assert plan.returncode == status and argument in plan.stderr


def test_deepspeed_configuration(golden: Path, zerofs: Path, tmp_path: Path) -> None:
    file = tmp_path / "ds.json"
    text = printed(zerofs, golden / "hf/llama_fp16", "--zero-stage", 2, "--no-pipeline-parallel",
                   "--deepspeed-config-out", file, "--micro-batch-size", 4)
    assert f"--deepspeed_config {file}" in text and "--micro-batch-size 4" in text
    from deepspeed.runtime.config import DeepSpeedConfig
    read = DeepSpeedConfig(json.loads(file.read_text()))
    assert (read.zero_optimization_stage, read.train_micro_batch_size_per_gpu) == (2, 4)
    assert read.float16_config.enabled and not read.bfloat16_config.enabled


def test_shell_and_helpers_are_bash(golden: Path, zerofs: Path, tmp_path: Path) -> None:
    hf = golden / "hf/llama_bf16"
    lines = [w for line in printed(zerofs, hf).splitlines() for w in shlex.split(line, comments=True)]
    array = subprocess.run(["bash", "-eu", "-c", printed(zerofs, hf, "--format", "shell") + '\nprintf "%s\\n" "${MODEL_ARGS[@]}"'],
                           capture_output=True, text=True, check=True).stdout.split()
    assert array == lines
    as_json = json.loads(printed(zerofs, hf, "--format", "json"))
    assert [w for a in as_json["arguments"] for w in (a["argument"], *a["values"])] == lines
    variables = subprocess.run(["bash", "-eu", "-c", printed(zerofs, hf, "--format", "helpers") + "\nenv"],
                               capture_output=True, text=True, check=True).stdout.splitlines()
    assert {"HIDDEN=64", "NLAYERS=4", "HEADS=8", "NUM_KV_HEAD=4", "ROPE_THETA=10000", "DTYPE=bf16"} <= set(variables)
