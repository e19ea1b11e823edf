"""Every command takes a trained checkpoint where it takes a model's directory."""
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from mounting import run
from test_trained import CASES, TRAINED, compare, like, model, same  # noqa: F401
from test_golden import assert_equal

pytestmark = pytest.mark.skipif(not CASES, reason="no golden/trained in SHARED")
NAME = "llama-pipe-tp2pp2-z1"
TREE = TRAINED / NAME / "tree"


def said(zerofs: Path, *words: object, status: int = 0) -> str:
    done = run(zerofs, *words)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout if status in (0, 10) else done.stderr


def test_args_and_check(zerofs: Path, tmp_path: Path) -> None:
    text = said(zerofs, "args", TREE)
    arguments = [line.split("#")[0].split() for line in text.splitlines() if line.startswith("--")]
    given = {words[0]: words[1:] for words in arguments}
    assert given["--hidden-size"] == ["64"] and given["--tensor-model-parallel-size"] == ["2"]
    assert given["--tokenizer-type"] == ["NullTokenizer"] and given["--vocab-size"] == ["258"]
    script = tmp_path / "args.txt"
    script.write_text(text)
    assert "nothing contradicts" in said(zerofs, "check", TREE, "--train-args", script)
    script.write_text(text.replace("--hidden-size 64", "--hidden-size 128"))
    found = said(zerofs, "check", TREE, "--train-args", script, "--json", status=10)
    assert "hidden_size" in {finding["argument"] for finding in json.loads(found)}
    assert "--tensor-model-parallel-size 4" in said(zerofs, "args", TREE, "--tp", 4, "--pp", 1)
    # A vocabulary that is padded otherwise is a contradiction, too.
    script.write_text(text + "\n--make-vocab-size-divisible-by 64\n")
    assert said(zerofs, "check", TREE, "--train-args", script, "--make-vocab-size-divisible-by", 128, status=4)


def test_run(zerofs: Path) -> None:
    assert "global_step6" in said(zerofs, "run", TREE, "--tp", 1, "--pp", 1, "--", "ls", "{}")
    assert said(zerofs, "run", TREE, "--as", "hf", "--", "cat", "{}/config.json").startswith("{")


def test_layouts(zerofs: Path) -> None:
    lines = said(zerofs, "layouts", TREE, "--gpus", 4, "--memory", "40GB").splitlines()
    assert any(line.startswith("--tp 2 --pp 2 --dp 1") for line in lines)


def test_materialize_and_verify(zerofs: Path, tmp_path: Path, compare, monkeypatch, mount) -> None:  # noqa: F811
    there, back, hf = tmp_path / "there", tmp_path / "back", tmp_path / "hf"
    said(zerofs, "materialize", TREE, there, "--tp", 1, "--pp", 4, "--make-vocab-size-divisible-by", 512)
    assert "agree with the manifest" in said(zerofs, "verify", there)
    assert "agree with" in said(zerofs, "verify", there, "--against", TREE)
    said(zerofs, "materialize", there, back, "--tp", 2, "--pp", 2, "--make-vocab-size-divisible-by", 256)
    (back / "zerofs-manifest.json").unlink()
    assert_equal(compare, TREE, back, monkeypatch)
    said(zerofs, "materialize", TREE, hf, "--as", "hf", *like(NAME), "--dtype", "fp32")
    same(load_file(TRAINED / NAME / "weights.safetensors"), model(hf))
    assert "agree with the manifest" in said(zerofs, "verify", hf)
    layer = next(there.glob("*/layer_03*"))
    contents = bytearray(layer.read_bytes())
    contents[len(contents) // 2] ^= 1
    layer.write_bytes(contents)
    assert run(zerofs, "verify", there).returncode == 13


@pytest.mark.parametrize("words", [("materialize", TREE, "out", "--compress", "zstd"), ("plan", TREE, "--as", "hf", "--reads"),
                                   ("estimate", TREE), ("warm", TREE, "--ranks", "all")], ids=lambda words: words[0])
def test_what_has_no_sense_is_said(words: tuple, zerofs: Path, tmp_path: Path) -> None:
    done = run(zerofs, *[tmp_path / word if word == "out" else word for word in words])
    assert done.returncode not in (0, 1, -6) and done.stderr.strip(), (done.returncode, done.stderr)


def test_another_batch_is_said(zerofs: Path, mount, tmp_path: Path) -> None:
    script = tmp_path / "args.txt"
    script.write_text(said(zerofs, "args", TREE) + "\n--micro-batch-size 4\n--global-batch-size 4\n--train-iters 100\n--lr 0.05\n"
                      "--lr-decay-iters 100\n--lr-warmup-iters 10\n--seq-length 32\n--make-vocab-size-divisible-by 128\n")
    done = run(zerofs, "plan", TREE, "--train-args", script)
    assert done.returncode == 0 and "global_batch_size is 4, and the run had 2" in done.stderr, done.stderr
    with mount(TREE, "--train-args", script) as m:
        state = torch.load(m.path / "global_step6/mp_rank_00_model_states.pt", weights_only=False)
    # By samples: as many as were seen, of a schedule that is as many steps long and twice as many samples.
    assert (state["lr_scheduler"]["num_steps"], state["lr_scheduler"]["lr_decay_steps"]) == (12, 400)
    assert state["args"].consumed_train_samples == 12 and state["iteration"] == 6
    done = run(zerofs, "plan", TREE, "--train-args", script, "--new-stage")
    assert done.returncode == 0 and "global_batch_size" not in done.stderr
