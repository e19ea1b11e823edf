"""The universal checkpoint: cut by its own markers, it is the regular checkpoint of every layout."""
from pathlib import Path

import pytest
import torch

from conftest import SHARED  # noqa: F401  (fails loudly without ../shared)
from rebuild import load


def cut(entry: dict, rank: int, size: int, rows: int) -> torch.Tensor:
    """What DeepSpeed loads on one tensor-parallel rank (checkpoint/universal_checkpoint.py)."""
    whole = entry["param"]
    if entry.get("vocab_tensor"):
        whole = torch.nn.functional.pad(whole, (0, 0, 0, rows * size - whole.shape[0]))
    if "cat_dim" not in entry:
        return whole
    parts = whole.chunk(entry.get("param_n_sub_params", 1), dim=entry["cat_dim"])
    return torch.cat([part.chunk(size, dim=entry["cat_dim"])[rank] for part in parts], dim=entry["cat_dim"])


@pytest.mark.parametrize("model", ["hf/llama_bf16", "hf/llama_tied_bf16", "families/hf/gpt2", "families/hf/qwen2", "families/hf/glm",
                                   "families/hf/granite_tied", "families/hf/nemotron", "families/hf/gpt_bigcode_mha",
                                   "extension/hf/x_qwen3", "extension/hf/x_olmo2", "extension/hf/x_gemma2", "extension/hf/x_phi"])
def test_cut_by_its_markers_it_is_the_regular_one(model: str, golden: Path, mount) -> None:
    with mount(golden / model, "--tp", 2, "--universal-checkpoint") as m:
        tag = m.path / (m.path / "latest_universal").read_text()
        entries = {p.parent.name: load(p) for p in tag.glob("zero/*/fp32.pt")}
        tied = any(name.startswith("tied_modules.") for name in entries)
        seen = set()
        for file in sorted((m.path / "global_step0").glob("layer_*.pt")):
            number, rank = int(file.name[6:8]), int(file.name[15:17])
            for name, tensor in load(file).items():
                name = f"tied_modules.embed.{name}" if tied and number == 1 else f"{number}.{name}"
                seen.add(name)
                assert torch.equal(cut(entries[name], rank, 2, tensor.shape[0]), tensor.float()), name
        assert seen == set(entries)
        assert len(load(tag / "zero/optimizer_state.pt")["param_groups"]) == 2
        # MDS takes consumed samples from there; a load doesn't compare the layout that they name.
        assert load(tag / "mp_rank_00_model_states.pt")["args"].consumed_train_samples == 0


def test_moments_on_request(golden: Path, mount) -> None:
    with mount(golden / "hf/llama_bf16", "--universal-checkpoint", "--moments", "zeros") as m:
        files = {p.name for p in m.path.glob("global_step0_universal/zero/3.mlp.dense_h_to_4h.weight/*")}
        moment = load(m.path / "global_step0_universal/zero/3.mlp.dense_h_to_4h.weight/exp_avg_sq.pt")
    assert files == {"fp32.pt", "exp_avg.pt", "exp_avg_sq.pt", "step.pt"}
    assert not moment["param"].any() and moment["param_n_sub_params"] == 2


def test_absent_unless_asked_for(golden: Path, mount) -> None:
    with mount(golden / "hf/llama_bf16") as m:
        assert not list(m.path.glob("*universal*"))
