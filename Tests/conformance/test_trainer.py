"""--flavor trainer: HF Trainer resumes from the mount with DeepSpeed, and the mount is what Trainer saves."""
import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors import safe_open

from mounting import mounted, run
from test_flavor_hf import compare, models, run_engine, survived  # noqa: F401
from trainer_engine import BATCH, DECAY, RATE, deepspeed_config

ADAMW = {"type": "AdamW", "params": {"lr": "auto", "betas": "auto", "eps": "auto", "weight_decay": "auto", "torch_adam": True}}
WARMUP = {"type": "WarmupDecayLR", "params": {
    "total_num_steps": "auto", "warmup_min_lr": 1e-5, "warmup_max_lr": "auto", "warmup_num_steps": "auto"}}
# By name; `config` has members for DeepSpeed's configuration.
CASES = {name: dict(zip(("model", "zero", "config", "warmup"), case)) for name, case in {
    "llama-z1": ("llama_bf16", 1, {}, 0),
    "llama-z2-warmup": ("llama_bf16", 2, {}, 2),
    "llama-z3": ("llama_bf16", 3, {"zero_optimization": {"stage": 3, "sub_group_size": 30_000}}, 0),
    "tied-z2": ("llama_tied_bf16", 2, {}, 0),
    "qwen2-z1": ("qwen2_bf16", 1, {}, 0),
    "gpt2-z3": ("gpt2", 3, {}, 0),
    "optimizer-z1-warmup": ("llama_bf16", 1, {"optimizer": ADAMW}, 2),
    "optimizer-scheduler-z3": ("llama_bf16", 3, {"optimizer": ADAMW, "scheduler": WARMUP}, 2),
    "scheduler-z2": ("llama_bf16", 2, {"scheduler": WARMUP}, 2),
}.items()}
ARGUMENTS = (f"deepspeed train.py --learning_rate {RATE} --weight-decay={DECAY} --max_grad_norm 0.5 --output_dir out "
             f"--per_device_train_batch_size {BATCH} --logging_steps 1")


def options(case: dict) -> list[object]:
    words = ["--flavor", "trainer", "--zero-stage", case["zero"],
             "--train-args", f"{ARGUMENTS} --warmup_steps {case['warmup']}"]
    return words + (["--deepspeed-config", json.dumps(deepspeed_config(case))] if case["config"] else [])


@pytest.fixture(scope="module")
def results(models, zerofs: Path, tmp_path_factory) -> Iterator[dict[str, tuple[dict, Path, Path]]]:  # noqa: F811
    """name → what Trainer said, the tree that it saved, the mount that it resumed from."""
    scratch = tmp_path_factory.mktemp("trainer")
    with contextlib.ExitStack() as stack:
        cases = []
        for name, case in CASES.items():
            hf, mountpoint = models[case["model"]], tmp_path_factory.mktemp("mnt")
            stack.enter_context(mounted(zerofs, hf, mountpoint, "--dp", 2, *options(case)))
            cases.append(case | {"hf": str(hf), "tree": str(mountpoint), "save": str(scratch / name)})
        said = run_engine("trainer_engine.py", cases, scratch)
        yield {name: (result, Path(case["save"]) / "checkpoint-0", Path(case["tree"]))
               for name, case, result in zip(CASES, cases, said)}


@pytest.mark.parametrize("name", CASES)
def test_resumes(name: str, results, measured) -> None:
    result, _, _ = results[name]
    survived(result)
    measured(f"--flavor trainer {name}: losses {result['resumed']}")
    assert result["differing"] == []
    assert result["resumed"] == result["fresh"], "as a Trainer that starts from the weights"
    assert len(set(result["fresh"])) > 1, "the steps must change something"
    case = CASES[name]
    rate = 1e-5 if "scheduler" in case["config"] else 0 if case["warmup"] else RATE
    decays = [DECAY] if "optimizer" in case["config"] else [DECAY, 0]
    assert result["groups"] == [{"lr": rate, "weight_decay": decay} for decay in decays]


@pytest.mark.parametrize("name", CASES)
def test_is_what_trainer_saves(name: str, results, oracle: Path, tmp_path: Path, capsys) -> None:
    _, saved, tree = results[name]
    compare(oracle, deepspeeds_files(saved, tmp_path / "saved"), deepspeeds_files(tree, tmp_path / "tree"), capsys)
    assert (saved / "scheduler.pt").exists() == (tree / "scheduler.pt").exists()
    if (saved / "scheduler.pt").exists():
        theirs, ours = (torch.load(top / "scheduler.pt", weights_only=True) for top in (saved, tree))
        assert ours.items() <= theirs.items() and {"base_lrs", "last_epoch", "lr_lambdas"} <= ours.keys()
    theirs, ours = (json.loads((top / "trainer_state.json").read_text()) for top in (saved, tree))
    del theirs["eval_steps"], ours["eval_steps"]  # 500, because nothing is evaluated
    assert ours.items() <= theirs.items()
    groups = [torch.load(next((top / "global_step0").glob("*_rank_0_mp_rank_00_optim_states.pt")), weights_only=False)
              for top in (saved, tree)]
    theirs, ours = (parameter_groups(file["optimizer_state_dict"]) for file in groups)
    assert theirs == ours


def deepspeeds_files(checkpoint: Path, to: Path) -> Path:
    """Without those of Trainer's own, of which a resume needs two."""
    (to / "global_step0").mkdir(parents=True)
    files = [checkpoint / "latest", *(checkpoint / "global_step0").iterdir()]
    assert len(files) > 3
    for file in files:
        (to / file.relative_to(checkpoint)).symlink_to(file)
    return to


def parameter_groups(state: dict) -> list[dict]:
    """compare.py lets rates and the like differ."""
    inner = state.get("base_optimizer_state") or state["optimizer_state_dict"]
    return inner["param_groups"]


def test_layout_directories_and_verify(models, zerofs: Path, mount, results) -> None:  # noqa: F811
    _, saved, _ = results["llama-z3"]
    with mount(models["llama_bf16"], *options(CASES["llama-z1"])) as m:
        done = run(zerofs, "verify", m.path / "dp2-zero3", "--against", models["llama_bf16"])
        assert done.returncode == 0, done.stdout + done.stderr
        assert json.loads((m.path / "dp2-zero3/trainer_state.json").read_text())["global_step"] == 0
        assert not (m.path / "it5").exists()
        assert "--iteration 5 with --flavor trainer" in (m.path / ".zerofs/log").read_text()
    done = run(zerofs, "verify", saved, "--against", models["llama_bf16"])
    assert done.returncode == 0, done.stdout + done.stderr
    plan = run(zerofs, "plan", models["llama_bf16"], *options(CASES["llama-z2-warmup"])).stdout
    assert "resume_from_checkpoint" in plan and f"lr {RATE}, weight_decay {DECAY}" in plan and "clip_grad 0.5" in plan


@pytest.mark.parametrize("words, status, word", [
    (("--train-args", "x --learning_rate fast"), 10, "--learning_rate is 'fast'"),
    (("--train-args", "x --optim=adafactor"), 10, "adamw_torch_fused"),
    (("--train-args", "x --lr_scheduler_type reduce_lr_on_plateau"), 10, "reduce_lr_on_plateau"),
    (("--train-args", "x --save_steps 0.1"), 10, "--save_steps is '0.1'"),
    (("--train-args", "x --warmup_steps"), 10, "--warmup_steps is ''"),
    (("--deepspeed-config", '{"optimizer": {"type": "Lion"}}'), 10, "optimizer Lion"),
    (("--deepspeed-config", '{"scheduler": {"type": "OneCycle"}}'), 10, "scheduler OneCycle"),
    (("--deepspeed-config", '{"optimizer": {"type": "AdamW", "params": {"lr": "3e-4"}}}'), 10, "optimizer.params.lr"),
    (("--deepspeed-config", '{"optimizer": {"type": "AdamW", "params": {"betas": [0.9]}}}'), 10, "optimizer.params.betas"),
    (("--deepspeed-config", '{"scheduler": {"type": "WarmupLR", "params": {"warmup_min_lr": [0, 0]}}}'), 10, "warmup_min_lr"),
    (("--train-args", "--lr_scheduler_type warmup_stable_decay --lr_scheduler_kwargs {} --warmup_steps 1"), 10, "_kwargs"),
    (("--train-args", "x --bf16 maybe"), 10, "--bf16 is 'maybe'"), (("--train-args", "x --bf16", "--dtype", "fp32"), 4, "--dtype fp32"),
    (("--deepspeed-config", '{"gradient_clipping": "1.0"}'), 10, "gradient_clipping"),
    (("--iteration", 5), 4, "--iteration 5"), (("--tp", 2), 4, "--tp 2"),
], ids=str)
def test_refusals(words: tuple, status: int, word: str, zerofs: Path, models) -> None:  # noqa: F811
    done = run(zerofs, "plan", models["llama_bf16"], "--flavor", "trainer", *words)
    assert done.returncode == status and word in done.stderr, done.stderr


def test_an_order_without_decay_is_refused(zerofs: Path, models, tmp_path: Path) -> None:  # noqa: F811
    with safe_open(models["llama_bf16"] / "model.safetensors", "pt") as file:
        names = list(file.keys())
    order = {"state_dict": names, "parameters": names, "tied": {}}
    words = ("plan", models["llama_bf16"], "--flavor", "trainer", "--parameter-order")
    done = run(zerofs, *words, json.dumps(order))
    assert done.returncode == 10 and "without_weight_decay is missing" in done.stderr, done.stderr
    assert run(zerofs, *words, json.dumps(order | {"without_weight_decay": names[:3]})).returncode == 0


def mounted_groups(mount, hf: Path, *words: object) -> list[dict]:
    with mount(hf, "--flavor", "trainer", *words) as m:
        [path] = m.path.glob("global_step0/bf16_zero_pp_rank_0_*")
        return parameter_groups(torch.load(path, weights_only=False)["optimizer_state_dict"])


@pytest.mark.parametrize("optimizer", [{}, {"optimizer": {"type": "AdamW", "params": {"lr": "auto"}}}], ids=["own", "config"])
def test_offloaded_optimizer(optimizer: dict, models, mount, monkeypatch) -> None:  # noqa: F811
    """DeepSpeedCPUAdam, whose step needs what torch's groups lack. Its extension takes minutes to build and isn't."""
    from deepspeed.ops.adam import cpu_adam
    extension = SimpleNamespace(create_adam=lambda *_: None, destroy_adam=lambda *_: None)
    monkeypatch.setattr(cpu_adam, "CPUAdamBuilder", lambda: SimpleNamespace(load=lambda: extension))
    [theirs] = cpu_adam.DeepSpeedCPUAdam([torch.nn.Parameter(torch.ones(1))]).state_dict()["param_groups"]
    config = {"zero_optimization": {"stage": 2, "offload_optimizer": {"device": "cpu"}}} | optimizer
    groups = mounted_groups(mount, models["llama_bf16"], "--deepspeed-config", json.dumps(config))
    assert len(groups) == (1 if optimizer else 2)
    assert all(group.keys() == theirs.keys() | {"initial_lr"} for group in groups)
    kept = json.dumps(config | {"zero_force_ds_cpu_optimizer": False})
    assert all(("fused" in group) != bool(optimizer) for group in mounted_groups(
        mount, models["llama_bf16"], "--deepspeed-config", kept))


@pytest.mark.parametrize("words", [("--train-args", "--bf16"), ("--train-args", "--bf16=True"), ("--dtype", "bf16"), (
    "--deepspeed-config", '{"bf16": {"enabled": true}}'), ("--train-args", "--bf16 True --learning_rate=1e-4",
    "--deepspeed-config", '{"bf16": {"enabled": "auto"}, "fp16": {"enabled": "auto"}}')], ids=str)
def test_dtype_of_the_run(words: tuple, golden: Path, mount) -> None:
    """A model that is stored in fp32 trains in bf16."""
    assert len(mounted_groups(mount, golden / "hf/llama_fp32", *words)) == 2


def test_stage_and_clipping_of_the_configuration(models, zerofs: Path) -> None:  # noqa: F811
    config = json.dumps({"gradient_clipping": 0.25, "zero_optimization": {"stage": 3}})
    for flavor in ("hf", "trainer"):
        plan = run(zerofs, "plan", models["llama_bf16"], "--flavor", flavor, "--deepspeed-config", config).stdout
        assert "ZeRO 3" in plan and "clip_grad 0.25" in plan
