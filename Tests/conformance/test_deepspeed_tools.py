"""DeepSpeed's own tools read what is served of any family, extended and guarded ones too: its conversion to universal
checkpoints makes what zerofs serves as one, and zero_to_fp32 finds every master."""
import gc
import sys
from pathlib import Path

import pytest
import torch

import environment  # noqa: F401
from conftest import SHARED
from rebuild import load

GOLDEN = {"": SHARED / "golden/hf", "families": SHARED / "golden/families/hf", "extension": SHARED / "golden/extension/hf"}
MODELS = ["/llama_tied_bf16", "families/gpt2", "families/granite_tied", "families/qwen2", "families/nemotron", "extension/x_qwen3",
          "extension/x_olmo2", "extension/x_phi", "extension/x_gemma2", "extension/x_opt"]


def directory(model: str) -> Path:
    kind, name = model.split("/")
    return GOLDEN[kind] / name


@pytest.mark.parametrize("model", MODELS)
def test_ds_to_universal_makes_what_is_served(model: str, mount, tmp_path: Path, monkeypatch) -> None:
    from deepspeed.checkpoint import ds_to_universal
    words = ["--tp", 2, "--pp", 2, "--dtype", "bf16", "--moments", "zeros", "--universal-checkpoint"]
    with mount(directory(model), *words) as m:
        served, made = m.path / "global_step0_universal/zero", tmp_path / "out/zero"
        monkeypatch.setattr(sys, "argv", ["ds_to_universal", "--input_folder", str(m.path / "global_step0"), "--output_folder",
                                          str(made.parent), "--num_extract_workers", "1", "--num_merge_workers", "1"])
        ds_to_universal.main(ds_to_universal.parse_arguments())
        names = sorted(p.name for p in made.iterdir() if p.is_dir())
        assert names == sorted(p.name for p in served.iterdir() if p.is_dir())
        for name in names:
            for file in ("fp32.pt", "exp_avg.pt", "exp_avg_sq.pt"):
                ours, theirs = load(served / name / file), load(made / name / file)
                assert ours.keys() == theirs.keys(), name
                assert all(torch.equal(ours[k], v) if torch.is_tensor(v) else ours[k] == v for k, v in theirs.items()), name


@pytest.mark.parametrize("model", ["/llama_tied_bf16", "families/gpt2", "extension/x_gemma2", "extension/x_falcon_7b"])
@pytest.mark.parametrize("stage", [2, 3])
def test_zero_to_fp32(model: str, stage: int, mount) -> None:
    from deepspeed.utils.zero_to_fp32 import get_fp32_state_dict_from_zero_checkpoint
    rank_files = {"model": "global_step0/mp_rank_00_model_states.pt", "optimizer": "global_step0/bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt"}
    with mount(directory(model), "--dp", 2, "--zero-stage", stage, "--no-pipeline-parallel", "--dtype", "bf16") as m, \
            mount(directory(model), "--no-pipeline-parallel", "--dtype", "bf16") as whole:
        made = get_fp32_state_dict_from_zero_checkpoint(str(m.path))
        parts = {kind: load(whole.path / file) for kind, file in rank_files.items()}
        shapes = {name: shape for group in parts["model"]["param_shapes"] for name, shape in group.items()}
        flat = torch.cat(parts["optimizer"]["optimizer_state_dict"]["single_partition_of_fp32_groups"])
        masters = dict(zip(shapes, flat.split([shape.numel() for shape in shapes.values()])))
        assert made.keys() >= shapes.keys()
        wrong = [name for name, value in masters.items() if not torch.equal(made[name], value.view(shapes[name]))]
        made = masters = flat = parts = None      # mappings of the files
        gc.collect()
    assert not wrong
