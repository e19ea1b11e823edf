"""Every family: the mounted tree is what real Megatron-DeepSpeed saved, and a tokenizer's tokens are counted as
transformers counts them."""
import json
import re
from pathlib import Path

import pytest

from conftest import SHARED
from mounting import run
from test_golden import assert_equal, compare  # noqa: F401

GOLDEN = SHARED / "golden/families"
TREES = sorted(path.name for path in (GOLDEN / "trees").iterdir())
LAYOUTS = {"nopipe-dp2-z2": ["--dp", 2, "--zero-stage", 2, "--no-pipeline-parallel"],
           "pipe-tp2pp2-z1": ["--tp", 2, "--pp", 2], "pipe-pp2dp2-z1": ["--pp", 2, "--dp", 2]}


@pytest.mark.parametrize("tree", TREES)
def test_is_what_megatron_saved(tree: str, mount, compare, monkeypatch) -> None:  # noqa: F811
    model, layout = re.fullmatch(r"(\w+)-((?:nopipe|pipe)-.*)", tree).groups()
    with mount(GOLDEN / "hf" / model, "--dtype", "bf16", *LAYOUTS[layout]) as m:
        assert_equal(compare, GOLDEN / "trees" / tree, m.path, monkeypatch)


def copy(model: str, path: Path, **changes: object) -> Path:
    """A golden's configuration with changes, beside its weights."""
    config = json.loads((GOLDEN / "hf" / model / "config.json").read_text()) | changes
    (path / "config.json").write_text(json.dumps({key: value for key, value in config.items() if value != "gone"}))
    (path / "model.safetensors").symlink_to(GOLDEN / "hf" / model / "model.safetensors")
    return path


RUN = ("--num-layers 3 --hidden-size 64 --ffn-hidden-size 176 --num-attention-heads 8 --num-key-value-heads 4 "
       "--seq-length {} --max-position-embeddings 256 --micro-batch-size 1 --global-batch-size 1 --train-iters 1 --lr 1e-4 "
       "--tokenizer-type NullTokenizer --vocab-size 258 --normalization rmsnorm --layernorm-epsilon 1e-5 --swiglu "
       "--use-rotary-position-embeddings --disable-bias-linear --untie-embeddings-and-output-weights --bf16 --zero-stage 1 --deepspeed")


@pytest.mark.parametrize("length, status, words", [(32, 0, None), (33, 3, "sliding_window 32"), (None, 0, "up to 32")])
def test_a_window(zerofs: Path, length: int | None, status: int, words: str | None, tmp_path: Path) -> None:
    model = copy("mistral_window", tmp_path)
    options = ["--follow-links", "--extension", "none"] + (["--train-args", RUN.format(length)] if length else [])
    done = run(zerofs, "plan", model, *options)
    assert done.returncode == status, done.stderr
    assert words in done.stderr if words else "sliding" not in done.stderr, done.stderr


@pytest.mark.parametrize("model, changes, words", [
    ("llama_bias", {"attention_bias": "gone", "mlp_bias": "gone"}, "biases are in the files"),
    ("starcoder2", {"rope_parameters": {"rope_theta": 99999.75, "rope_type": "default"}}, "rope_theta 99999.75"),
    ("granite_tied", {}, "folded"),
])
def test_warnings(zerofs: Path, model: str, changes: dict, words: str, tmp_path: Path) -> None:
    done = run(zerofs, "plan", copy(model, tmp_path, **changes), "--follow-links")
    assert done.returncode == 0 and words in done.stderr, done.stderr


@pytest.mark.parametrize("model, arguments, word", [
    ("gpt2", "--use-rotary-position-embeddings", "use_rotary_position_embeddings"),
    ("gpt2", "--openai-gelu --max-position-embeddings 128", "max_position_embeddings"),
    ("gpt2", "--openai-gelu --normalization rmsnorm", "normalization"),
    ("arcee", "--use-rotary-position-embeddings --normalization rmsnorm --disable-bias-linear", "squared_relu"),
    ("gpt_neox_sequential", "--use-rotary-position-embeddings --rotary-percent 0.25", "bias_gelu_fusion"),
    ("gpt_neox_sequential", "--use-rotary-position-embeddings --no-bias-gelu-fusion", "rotary_percent"),
    ("qwen2", "--use-rotary-position-embeddings --swiglu --disable-bias-linear --normalization rmsnorm", "add_bias_linear"),
])
def test_contradictions(zerofs: Path, model: str, arguments: str, word: str) -> None:
    config = json.loads((GOLDEN / "hf" / model / "config.json").read_text())
    heads = config.get("num_attention_heads", 8)
    given = ("--num-layers 3 --hidden-size 64 --ffn-hidden-size 176 --seq-length 32 --max-position-embeddings 256 "
             f"--num-attention-heads {heads} --num-key-value-heads {config.get('num_key_value_heads', heads)} "
             "--micro-batch-size 1 --global-batch-size 1 --train-iters 1 --lr 1e-4 --tokenizer-type NullTokenizer "
             f"--vocab-size 258 --bf16 --zero-stage 1 --deepspeed --layernorm-epsilon {config.get('rms_norm_eps', 1e-5)} ")
    if not config.get("tie_word_embeddings", True):
        given += "--untie-embeddings-and-output-weights "
    if theta := config.get("rope_parameters", {}).get("rope_theta"):
        given += f"--rotary-position-embeddings-theta {int(theta)} "
    done = run(zerofs, "plan", GOLDEN / "hf" / model, "--train-args", given + arguments)
    assert done.returncode == 10 and word in done.stderr, done.stderr


def test_the_fused_gelu_is_the_same(zerofs: Path) -> None:
    given = ("--num-layers 3 --hidden-size 64 --ffn-hidden-size 176 --num-attention-heads 8 --seq-length 32 "
             "--max-position-embeddings 256 --micro-batch-size 1 --global-batch-size 1 --train-iters 1 --lr 1e-4 "
             "--tokenizer-type NullTokenizer --vocab-size 258 --bf16 --zero-stage 1 --deepspeed")
    for own in ("", " --openai-gelu --no-bias-gelu-fusion"):
        done = run(zerofs, "plan", GOLDEN / "hf/gpt2", "--train-args", given + own)
        assert done.returncode == 0, done.stderr
    assert run(zerofs, "plan", GOLDEN / "hf/gpt2", "--train-args", given + " --no-bias-gelu-fusion").returncode == 10


def tokenizers(path: Path):
    """(directory, the tokenizer that transformers reads there)"""
    from tokenizers import AddedToken, Tokenizer, models
    from transformers import AutoTokenizer, PreTrainedTokenizerFast
    pieces = [f"t{index}" for index in range(260)]
    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    kinds = {"bpe": models.BPE(vocab=vocabulary, merges=[]), "level": models.WordLevel(vocabulary, unk_token="t0"),
             "piece": models.WordPiece(vocabulary, unk_token="t0"),
             "unigram": models.Unigram([(piece, -1.0) for piece in pieces], unk_id=0)}
    for name, model in kinds.items():
        for added in ({}, {"pad_token": "<pad>", "bos_token": "t1"}):
            tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(model), **added)
            if added:
                tokenizer.add_tokens(["new", "t5", AddedToken("<x>", special=True)])
            directory = path / f"{name}{len(added)}"
            tokenizer.save_pretrained(directory)
            yield directory, AutoTokenizer.from_pretrained(directory)


def test_a_vocabulary_that_grows(zerofs: Path, tmp_path: Path) -> None:
    for directory, tokenizer in tokenizers(tmp_path):
        done = run(zerofs, "plan", GOLDEN / "hf/llama_bias", "--tokenizer", directory, "--vocab-padding", "mean", "--json")
        assert done.returncode == 0, done.stderr
        plan = json.loads(done.stdout)
        growth = f"the tokenizer has {len(tokenizer)} tokens, and the model 259 rows"
        assert any(growth in warning for warning in plan["warnings"]), (directory, plan["warnings"])
        assert plan["model"]["vocabularySize"] == len(tokenizer)


def test_new_rows_are_the_mean_of_the_old(tmp_path: Path, mount) -> None:
    import torch
    from safetensors.torch import load_file
    from tokenizers import Tokenizer, models
    Tokenizer(models.BPE(vocab={f"t{index}": index for index in range(300)}, merges=[])).save(str(tmp_path / "tokenizer.json"))
    with mount(GOLDEN / "hf/llama_bias", "--tokenizer", tmp_path, "--vocab-padding", "mean", "--dtype", "bf16") as m:
        rows = torch.load(m.path / "global_step0/layer_01-model_00-model_states.pt", weights_only=False)
        head = torch.load(m.path / "global_step0/layer_06-model_00-model_states.pt", weights_only=False)
    weights = load_file(GOLDEN / "hf/llama_bias/model.safetensors")
    for made, name in [(rows["word_embeddings.weight"], "model.embed_tokens.weight"), (head["lm_head.weight"], "lm_head.weight")]:
        assert made.shape == (384, 64) and torch.equal(made[:259], weights[name])
        assert torch.equal(made[259:], weights[name].mean(0).expand(125, 64))
