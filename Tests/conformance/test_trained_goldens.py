"""What real Megatron-DeepSpeed saved at step 0 of a Hugging Face model is that model again, byte for byte."""
import gc
import json
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file

from conftest import SHARED, needs_shared
from mounting import run
from test_trained import DTYPES, model, same

GOLDEN = SHARED / "golden"
CASES = json.loads((GOLDEN / "cases.json").read_text())
FAMILIES = sorted(path.name for path in (GOLDEN / "families/trees").glob("*") if path.is_dir())
EXTENDED = sorted(path.name for path in (GOLDEN / "extension/hf").glob("*") if path.is_dir())


def weights(hf: Path, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    tensors: dict[str, torch.Tensor] = {}
    for file in sorted(hf.glob("*.safetensors")):
        tensors |= load_file(file)
    return {name: tensor.to(dtype) for name, tensor in tensors.items()}


def without_copy(expected: dict[str, torch.Tensor], actual: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A tied output layer that the files have, too, is the embedding; buffers of old files are computed."""
    return {name: tensor for name, tensor in expected.items() if name in actual or not (
        name.startswith(("lm_head", "embed_out")) or name.endswith(("rotary_emb.inv_freq", "attn.bias", "masked_bias")))}


def rounded(name: str, tensor: torch.Tensor, actual: torch.Tensor) -> bool:
    """Rounded to bf16 with what is folded in, a factor or 1 + w, and again without: half a unit in the last place each, of the
    larger of w and 1 for norms."""
    if "embed_positions" in name:  # OPT never looks at the first two rows
        tensor, actual = tensor[2:], actual[2:]
    scale = tensor.float().abs() + (1 if "norm" in name or "ln_" in name else 0)
    return bool(((tensor.float() - actual.float()).abs() <= scale * 2.0 ** -7).all())


@pytest.mark.parametrize("case", CASES)
def test_tree(case: str, mount) -> None:
    hf = GOLDEN / "hf" / CASES[case]["hf"]
    with mount(GOLDEN / "trees" / case, "--as", "hf", "--like", hf) as m:
        actual = model(m.path)
        same(without_copy(weights(hf, DTYPES[CASES[case]["dtype"]]), actual), actual)


@pytest.mark.parametrize("tree", FAMILIES)
def test_family(tree: str, mount, measured) -> None:
    hf = GOLDEN / "families/hf" / tree.rsplit("-", 2)[0].removesuffix("-nopipe").removesuffix("-pipe")
    with mount(GOLDEN / "families/trees" / tree, "--as", "hf", "--like", hf) as m:
        actual = model(m.path)
    agree(tree, without_copy(weights(hf, torch.bfloat16), actual), actual, measured)


# Trees of these families → the model_type that the run's arguments are described by.
KIN = {"arcee": "arcee", "gpt2": "gpt2", "gpt_bigcode_mha": "gpt2", "gpt_neox_sequential": "gpt_neox", "helium": "llama",
       "nemotron": "nemotron", "qwen2": "llama", "stablelm_nobias": "stablelm", "starcoder2": "starcoder2"}


@pytest.mark.parametrize("family", KIN)
def test_described_by_the_run_alone(family: str, mount) -> None:
    """Without --like: another family maybe, and the same logits."""
    tree, logits = GOLDEN / f"families/trees/{family}-pipe-tp2pp2-z1", []
    for like in ([], ["--like", GOLDEN / "families/hf" / family]):
        with mount(tree, "--as", "hf", "--dtype", "fp32", *like) as m:
            described = json.loads((m.path / "config.json").read_text())["model_type"]
            assert like or described == KIN[family]
            network = transformers.AutoModelForCausalLM.from_pretrained(m.path, dtype=torch.float32).eval()
            with torch.no_grad():
                logits.append(network(torch.arange(40)[None] * 3).logits)
            del network  # it maps the files
            gc.collect()
    torch.testing.assert_close(*logits, rtol=0, atol=4e-6)


@needs_shared
def test_no_family_has_it(zerofs: Path) -> None:
    refused = run(zerofs, "plan", GOLDEN / "families/trees/glm-pipe-tp2pp2-z1", "--as", "hf")
    assert refused.returncode == 3 and "--like" in refused.stderr


@pytest.mark.parametrize("name", EXTENDED)
def test_extended_model(name: str, mount, measured) -> None:
    """By the mount of the model, which is what MDS saves with its extension."""
    hf = GOLDEN / "extension/hf" / name
    tp = 1 if name in ("x_falcon_7b", "x_gemma_2b") else 2  # one key-value head
    with mount(hf, "--tp", tp, "--pp", 2, "--dtype", "bf16") as there, \
            mount(there.path, "--as", "hf", "--like", hf) as m:
        actual = model(m.path)
    agree(name, without_copy(weights(hf, torch.bfloat16), actual), actual, measured)


def agree(name: str, expected: dict[str, torch.Tensor], actual: dict[str, torch.Tensor], measured) -> None:
    assert expected.keys() == actual.keys()
    folded = [tensor for tensor in expected if not torch.equal(expected[tensor], actual[tensor])]
    if folded:
        measured(f"{name}: what is folded is rounded: {len(folded)} of {len(expected)} tensors")
    for tensor in folded:
        assert rounded(tensor, expected[tensor], actual[tensor]), tensor
