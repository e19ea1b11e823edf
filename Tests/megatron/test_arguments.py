"""`zerofs args` in real Megatron-DeepSpeed: what it prints is enough, and each argument of it is needed."""
import json
import re
import shlex
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy
import pytest
import torch
import transformers

from mounting import mounted
from test_mount import ZEROFS, pytestmark  # noqa: F401
from training import SEQUENCE, SHARED, losses, run, script_of, write_corpus

# One of each kind: gated and not, RMSNorm and LayerNorm, learned positions, partial rotation, other bases and epsilons.
MODELS = ["llama_theta", "families/hf/gpt2", "families/hf/stablelm", "families/hf/qwen2"]
# ALCF's LayerNorm of a CPU computes in fp32 only.
FP32 = {"gpt2", "stablelm"}
# Scores are divided by the layer's number and multiplied by it: two roundings more, of bf16.
ONLY_IN_BF16 = {"--no-query-key-layer-scaling"}
# What the user and a CPU add.
OURS = """--seq-length {sequence} --micro-batch-size 2 --global-batch-size 2 --train-iters 1 --lr 0 --lr-decay-style constant
    --data-path {corpus} --data-cache-path {cache} --split 100,0,0 --num-workers 0 --log-interval 1 --eval-iters 0
    --eval-interval 100 --save-interval 100 --deepspeed_config {config} --distributed-backend gloo --seed 7
    --no-masked-softmax-fusion --no-bias-gelu-fusion --no-bias-dropout-fusion --no-gradient-accumulation-fusion"""


def model_of(name: str, folder: Path) -> Path:
    if name != "llama_theta":
        return SHARED / "golden" / name
    torch.manual_seed(3)
    config = transformers.LlamaConfig(
        hidden_size=64, intermediate_size=176, num_hidden_layers=3, num_attention_heads=8, num_key_value_heads=4, head_dim=8,
        vocab_size=259, max_position_embeddings=256, rms_norm_eps=1e-3, rope_parameters={"rope_theta": 5e5, "rope_type": "default"},
        initializer_range=0.08)
    transformers.LlamaForCausalLM(config).bfloat16().save_pretrained(folder)
    return folder


FAMILIES = sorted([*(SHARED / "golden/families/hf").iterdir(), SHARED / "golden/hf/llama_fp32", SHARED / "golden/hf/mistral_bf16"])
LIMIT = 1e-5      # of fp32 sums in another order


@pytest.mark.parametrize("hf", FAMILIES, ids=lambda path: path.name)
def test_the_first_loss_is_that_of_transformers(hf: Path, checkout: Path, tmp_path: Path, measured) -> None:
    """With what args prints and a run's own arguments: the full state, and no argument more."""
    layout = ["--dtype", "fp32", "--no-pipeline-parallel"]
    config = tmp_path / "deepspeed.json"
    printed = subprocess.run([ZEROFS, "args", hf, *layout, "--deepspeed-config-out", config, "--micro-batch-size", "2"],
                             check=True, capture_output=True, text=True).stdout
    corpus = write_corpus(tmp_path / "corpus", documents=100, size=8 * SEQUENCE, period=SEQUENCE)
    ours = OURS.format(sequence=SEQUENCE, corpus=corpus, cache=tmp_path / "cache", config=config)
    words = shlex.split(printed, comments=True) + ours.split()
    (run_args := tmp_path / "run.args").write_text(shlex.join(words))
    (mountpoint := tmp_path / "mnt").mkdir()
    with mounted(ZEROFS, hf, mountpoint, *layout, "--train-args", run_args, "--device", "cpu") as m:
        [found] = losses(run(checkout, [checkout / script_of(checkout), *words, "--load", m.path]))
    ids = torch.from_numpy(numpy.fromfile(corpus.with_suffix(".bin"), "int32")[None, :SEQUENCE + 1]).long()
    model = transformers.AutoModelForCausalLM.from_pretrained(hf, dtype=torch.float32, attn_implementation="eager")
    with torch.no_grad():
        right = float(torch.nn.functional.cross_entropy(model(ids[:, :-1]).logits[0], ids[0, 1:]))
    measured(hf.name, "args: first loss - transformers'", f"{found - right:+.1e}")
    assert found == pytest.approx(right, abs=LIMIT)


@pytest.mark.parametrize("name", MODELS, ids=lambda name: name.split("/")[-1])
def test_each_argument_is_needed(name: str, checkout: Path, tmp_path: Path, measured) -> None:
    hf = model_of(name, tmp_path / "hf")
    dtype = "fp32" if hf.name in FP32 else "bf16"
    layout = ["--dtype", dtype, "--no-pipeline-parallel"]
    printed = subprocess.run([ZEROFS, "args", hf, *layout, "--deepspeed-config-out", tmp_path / "unused.json"],
                             check=True, capture_output=True, text=True).stdout
    lines = [words for line in printed.splitlines() if (words := shlex.split(line, comments=True))]
    lines = [words for words in lines if words[0] not in ("--deepspeed_config", "--micro-batch-size", "--zero-stage")]
    config = tmp_path / "deepspeed.json"
    config.write_text(json.dumps({"train_micro_batch_size_per_gpu": 2, "train_batch_size": 2, "steps_per_print": 1000,
                                  "zero_optimization": {"stage": 1}}))
    corpus = write_corpus(tmp_path / "corpus")

    def ours(cache: str) -> str:
        return OURS.format(sequence=SEQUENCE, corpus=corpus, cache=tmp_path / cache, config=config)
    (run_args := tmp_path / "run.args").write_text("\n".join(map(shlex.join, lines)) + "\n" + ours("cache"))
    (mountpoint := tmp_path / "mnt").mkdir()
    with mounted(ZEROFS, hf, mountpoint, *layout, "--train-args", run_args) as m:
        def trained(without: int | None) -> subprocess.CompletedProcess:
            given = [word for index, words in enumerate(lines) if index != without for word in words]
            return run(checkout, [checkout / script_of(checkout), *given, *ours(f"cache-{without}").split(), "--load", m.path, "--finetune"])
        with ThreadPoolExecutor(2) as pool:
            whole, *others = pool.map(trained, [None, *range(len(lines))])
    [right] = losses(whole)
    needless = []
    for words, done in zip(lines, others):
        found = re.findall(r"lm loss[:=] ?([\d.E+-]+)", done.stdout) if done.returncode == 0 else []
        says = next((line.split("# ")[1] for line in printed.splitlines() if line.startswith(words[0] + " ")), "")
        what = "stops" if not found else "the same" if float(found[0]) == right else found[0]
        measured(words[0], f"args: {hf.name}", f"{what} ({says.split(':')[0]})")
        if what == "the same" and not (dtype == "fp32" and words[0] in ONLY_IN_BF16):
            needless.append(words[0])
    assert not needless, f"without them the loss is {right}, too"
