"""--flavor upstream, --flavor upstream-fpdt, --megatron, --sp: what differs from the ALCF fork's trees."""
import json
import shutil
from pathlib import Path

import pytest
import torch

import environment  # noqa: F401
from mounting import run
from rebuild import load

STEP = "global_step0"


def attention(tree: Path, tp: int) -> torch.Tensor:
    return load(tree / STEP / f"layer_02-model_{tp:02d}-model_states.pt")["self_attention.query_key_value.weight"]


def test_upstream_is_alcf_without_its_own(golden: Path, mount, oracle: Path, capsys) -> None:
    hf = golden / "hf/llama_bf16"
    with mount(hf, "--no-pipeline-parallel") as alcf, mount(hf, "--no-pipeline-parallel", "--flavor", "upstream") as up:
        files = [sorted(p.relative_to(m.path).as_posix() for p in m.path.rglob("*") if p.is_file())
                 for m in (alcf, up)]
        assert set(files[0]) - set(files[1]) == {"lr_state_dict.yaml"}
        a, b = (load(m.path / STEP / "mp_rank_00_model_states.pt") for m in (alcf, up))
        assert (a["buffer_names"], b["buffer_names"]) == (["language_model.rotary_pos_emb.inv_freq"],) * 2
        attributes = [list(vars(state["args"])) for state in (a, b)]
        assert len(attributes[0]) - len(attributes[1]) == 35
        assert [name for name in attributes[0] if name in attributes[1]] == attributes[1]
        optimizer = f"{STEP}/bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt"
        assert (alcf.path / optimizer).read_bytes() == (up.path / optimizer).read_bytes()


def multi_head(golden: Path, tmp_path: Path) -> Path:
    """The tiny Llama with as many key-value heads as heads: its keys and values twice."""
    from safetensors.torch import load_file, save_file
    source, hf = golden / "hf/llama_bf16", tmp_path / "mha"
    hf.mkdir()
    config = json.loads((source / "config.json").read_text())
    (hf / "config.json").write_text(json.dumps(config | {"num_key_value_heads": config["num_attention_heads"]}))
    save_file({name: torch.cat([t, t + 1]) if "k_proj" in name or "v_proj" in name else t
               for name, t in load_file(source / "model.safetensors").items()}, hf / "model.safetensors")
    return hf


def test_fpdt_has_thirds(golden: Path, tmp_path: Path, mount) -> None:
    from safetensors.torch import load_file
    hf = multi_head(golden, tmp_path)
    weights = load_file(hf / "model.safetensors")
    q, k, v = (weights[f"model.layers.0.self_attn.{x}_proj.weight"] for x in "qkv")
    with mount(hf, "--flavor", "upstream-fpdt", "--tp", 2) as m:
        for tp in range(2):
            wanted = torch.cat([t.chunk(2)[tp] for t in (q, k, v)])
            assert torch.equal(attention(m.path, tp), wanted)


def test_fpdt_refuses_grouped_queries(golden: Path, zerofs: Path) -> None:
    done = run(zerofs, "plan", golden / "hf/llama_bf16", "--flavor", "upstream-fpdt")
    assert done.returncode == 3 and "grouped-query" in done.stderr and "upstream-fpdt" in done.stderr


@pytest.mark.parametrize("flavor, checkpointing, transformer", [
    ("alcf", "import deepspeed\nimport ezpz as ez\n", ""),
    ("upstream", "import deepspeed\n", ""),
    ("upstream-fpdt", "import deepspeed\n", "from deepspeed.sequence.fpdt_layer import FPDT_Attention\n"),
])
def test_flavor_of_a_checkout(flavor, checkpointing, transformer, golden: Path, zerofs: Path, tmp_path: Path) -> None:
    (tmp_path / "megatron/model").mkdir(parents=True)
    (tmp_path / "megatron/checkpointing.py").write_text(checkpointing)
    (tmp_path / "megatron/model/transformer.py").write_text(transformer)
    other = "upstream" if flavor == "alcf" else "alcf"
    done = run(zerofs, "plan", golden / "hf/llama_bf16", "--megatron", tmp_path, "--flavor", other)
    assert done.returncode == 4 and f"is {flavor}." in done.stderr
    shutil.rmtree(tmp_path / "megatron/model")
    done = run(zerofs, "plan", golden / "hf/llama_bf16", "--megatron", tmp_path)
    assert done.returncode == 10 and "transformer.py" in done.stderr


@pytest.mark.parametrize("zero", [1, 3])
def test_sequence_parallel_ranks_count_as_data_parallel_ones(zero: int, golden: Path, mount) -> None:
    """As DeepSpeed counts them (seq_dp_world_size): the optimizer of DP 2 × SP 2 is that of DP 4."""
    options = ["--no-pipeline-parallel", "--zero-stage", zero]
    hf = golden / "hf/llama_bf16"
    with mount(hf, *options, "--dp", 4) as four, mount(hf, *options, "--dp", 2, "--sp", 2) as two:
        names = sorted(p.name for p in (four.path / STEP).iterdir())
        assert names == sorted(p.name for p in (two.path / STEP).iterdir())
        for name in names:
            if name.endswith("optim_states.pt"):
                assert (four.path / STEP / name).read_bytes() == (two.path / STEP / name).read_bytes()
            else:
                state = load(two.path / STEP / name)
                assert state["dp_world_size"] == 4
                assert (state["args"].data_parallel_size, state["args"].ds_sequence_parallel_size) == (2, 2)


def test_sequence_parallel_refuses_tensor_parallel(golden: Path, zerofs: Path) -> None:
    done = run(zerofs, "plan", golden / "hf/llama_bf16", "--sp", 2, "--tp", 2)
    assert done.returncode == 4 and "--sp 2" in done.stderr
