"""DeepSpeed's own tools read what is served of any family, extended and guarded ones too: its conversion to universal
checkpoints makes what zerofs serves as one, and zero_to_fp32 finds every master."""
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from conftest import SHARED, TOP
from rebuild import load

GOLDEN = {"": SHARED / "golden/hf", "families": SHARED / "golden/families/hf", "extension": SHARED / "golden/extension/hf"}
MODELS = ["/llama_tied_bf16", "families/gpt2", "families/granite_tied", "families/qwen2", "families/nemotron", "extension/x_olmo2",
          "extension/x_phi", "extension/x_gemma2", "extension/x_opt"]
PACKAGE, ENUMS = TOP / "Sources/MegatronExtension", SHARED / "oracle/stubs/megatron_enums"


def directory(model: str) -> Path:
    kind, name = model.split("/")
    return GOLDEN[kind] / name


def tool(module: str, *words: object, package: bool = True) -> subprocess.CompletedProcess[str]:
    paths = [*([PACKAGE] if package else []), ENUMS]
    return subprocess.run([sys.executable, "-W", "ignore", "-m", f"deepspeed.{module}", *map(str, words)], text=True,
                          capture_output=True, env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, paths))})


@pytest.mark.parametrize("model", MODELS)
def test_ds_to_universal_makes_what_is_served(model: str, mount, tmp_path: Path) -> None:
    words = ["--tp", 2, "--pp", 2, "--dtype", "bf16", "--moments", "zeros", "--universal-checkpoint"]
    with mount(directory(model), *words) as m:
        convert = ["checkpoint.ds_to_universal", "--input_folder", m.path / "global_step0", "--output_folder", tmp_path / "out",
                   "--num_extract_workers", 1, "--num_merge_workers", 1]
        if model.startswith("extension"):
            assert "No module named 'zerofs_megatron'" in tool(*convert, package=False).stderr
        done = tool(*convert)
        assert done.returncode == 0, done.stderr[-3000:]
        served, made = m.path / "global_step0_universal/zero", tmp_path / "out/zero"
        names = sorted(p.name for p in made.iterdir() if p.is_dir())
        assert names == sorted(p.name for p in served.iterdir() if p.is_dir())
        for name in names:
            for file in ("fp32.pt", "exp_avg.pt", "exp_avg_sq.pt"):
                ours, theirs = load(served / name / file), load(made / name / file)
                assert ours.keys() == theirs.keys(), name
                assert all(torch.equal(ours[k], v) if torch.is_tensor(v) else ours[k] == v for k, v in theirs.items()), name


@pytest.mark.parametrize("model", ["/llama_tied_bf16", "families/gpt2", "extension/x_gemma2", "extension/x_falcon_7b"])
@pytest.mark.parametrize("stage", [2, 3])
def test_zero_to_fp32(model: str, stage: int, mount, tmp_path: Path) -> None:
    with mount(directory(model), "--dp", 2, "--zero-stage", stage, "--no-pipeline-parallel", "--dtype", "bf16") as m, \
            mount(directory(model), "--no-pipeline-parallel", "--dtype", "bf16") as whole:
        done = tool("utils.zero_to_fp32", m.path, tmp_path / "out")
        assert done.returncode == 0, done.stderr[-3000:]
        weights = load(next(whole.path.glob("global_step0/mp_rank_00_model_states.pt")))
        shapes = {name: shape for group in weights["param_shapes"] for name, shape in group.items()}
        flat = load(next(whole.path.glob("global_step0/*optim_states.pt")))["optimizer_state_dict"]["single_partition_of_fp32_groups"]
        masters = dict(zip(shapes, torch.cat(flat).split([shape.numel() for shape in shapes.values()])))
    made = torch.load(tmp_path / "out/pytorch_model.bin", weights_only=True)
    assert made.keys() >= shapes.keys()
    assert all(torch.equal(made[name].flatten(), value) and made[name].shape == shapes[name] for name, value in masters.items())
