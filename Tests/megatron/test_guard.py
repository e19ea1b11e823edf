"""A run without the extension can't go wrong in silence, and one with it goes on as if nothing had happened."""
import json
from pathlib import Path

import pytest

from training import PACKAGE, arguments, losses, run, script_of
from test_ways import LIMIT, SPEC

OTHER_SPEC = {**SPEC, "activation": "silu"}
RESUME = ("--no-load-rng", "--override-opt_param-scheduler")


class Run:
    """Six steps, and the same as three, a checkpoint, and three."""
    def __init__(self, checkout: Path, folder: Path, guard: bool = True, **layout) -> None:
        self.checkout, self.script, self.save, self.layout = checkout, script_of(checkout), folder / "save", layout
        self.folder, self.ranks = folder, layout.get("tp", 1) * layout.get("pp", 1)
        self.spec = self.write("spec", {**SPEC, "guard": guard})
        self.whole = losses(self.start("-m", "zerofs_megatron", "--spec", self.spec, path=(PACKAGE,)))
        begun = self.start("-m", "zerofs_megatron", "--spec", self.spec, more=("--save", self.save, "--exit-interval", 3),
                           path=(PACKAGE,))
        assert losses(begun) == self.whole[:3]

    def write(self, name: str, spec: dict) -> Path:
        path = self.folder / f"{name}.json"
        path.write_text(json.dumps(spec))
        return path

    def start(self, *before: object, more: tuple = (), path: tuple = (), layout: dict | None = None, **environment: object):
        layout = self.layout if layout is None else layout
        return run(self.checkout, [*before, self.checkout / self.script, *arguments(self.folder, *more, iters=6, **layout)],
                   ranks=layout.get("tp", 1) * layout.get("pp", 1), path=path, **environment)

    def resume(self, *before: object, load: Path | None = None, more: tuple = RESUME, **options):
        return self.start(*before, more=("--load", load or self.save, *more), **options)


@pytest.fixture(scope="module", params=["no pipeline", "pipeline"])
def begun(request, each_checkout: Path, tmp_path_factory) -> Run:
    return Run(each_checkout, tmp_path_factory.mktemp("run"), pipe=request.param == "pipeline")


def stopped(done, words: str) -> bool:
    return done.returncode != 0 and words in done.stdout + done.stderr and "lm loss" not in done.stdout


@pytest.mark.parametrize("more", [RESUME, ("--finetune",)], ids=["full", "finetune"])
def test_stock_stops_and_says_what_is_missing(more: tuple, begun: Run) -> None:
    assert stopped(begun.resume(more=more), "No module named 'zerofs_megatron'")


def test_a_run_that_has_the_package_but_not_the_extension_stops(begun: Run) -> None:
    assert stopped(begun.resume(path=(PACKAGE,)), "this run isn't extended")


def test_another_spec_stops(begun: Run) -> None:
    other = begun.write("other", OTHER_SPEC)
    done = begun.resume("-m", "zerofs_megatron", "--spec", other, path=(PACKAGE,))
    assert stopped(done, 'activation: "silu" here, "gelu_tanh" there')


def test_resumes_from_what_the_launcher_kept(begun: Run) -> None:
    """Without the mount: the package and the spec are in SAVE/.zerofs."""
    done = begun.resume("-m", "zerofs_megatron", more=(*RESUME, "--save", begun.save), path=(begun.save / ".zerofs",))
    assert losses(done) == begun.whole[3:]
    assert stopped(begun.resume(), "No module named 'zerofs_megatron'")      # its own checkpoint, step 6, is guarded again


def test_save_of_another_model_is_refused(begun: Run) -> None:
    other = begun.write("other", OTHER_SPEC)
    done = begun.start("-m", "zerofs_megatron", "--spec", other, path=(PACKAGE,), more=("--save", begun.save))
    assert stopped(done, "checkpoints of another model")


def test_without_guard_stock_loads(checkout: Path, tmp_path: Path) -> None:
    begun = Run(checkout, tmp_path, guard=False, pipe=True)
    done = begun.resume("-m", "zerofs_megatron", path=(begun.save / ".zerofs",))
    assert losses(done) == begun.whole[3:]
    assert stopped(begun.resume(), "Unexpected key(s) in state_dict")      # its q_layernorm, not the guard


def test_universal_and_deepspeeds_tools(checkout: Path, tmp_path: Path) -> None:
    begun = Run(checkout, tmp_path, tp=2, pipe=True)
    tools, step = (begun.save / ".zerofs",), begun.save / "global_step3"
    convert = ["-m", "deepspeed.checkpoint.ds_to_universal", "--input_folder", step, "--output_folder", f"{step}_universal",
               "--num_extract_workers", 1, "--num_merge_workers", 1]
    assert "No module named 'zerofs_megatron'" in run(checkout, convert).stderr
    done = run(checkout, convert, path=tools)
    assert done.returncode == 0, done.stderr[-3000:]
    (begun.save / "latest_universal").write_text("global_step3_universal")
    one = {"tp": 1, "pipe": True}
    more = (*RESUME, "--universal-checkpoint")
    assert stopped(begun.resume(more=more, layout=one), "No module named 'zerofs_megatron'")
    other = begun.write("other", OTHER_SPEC)
    done = begun.resume("-m", "zerofs_megatron", "--spec", other, more=more, layout=one, path=(PACKAGE,))
    assert stopped(done, "another model")
    done = begun.resume("-m", "zerofs_megatron", more=more, layout=one, path=tools)
    assert losses(done) == pytest.approx(begun.whole[3:], abs=LIMIT)


def test_zero_to_fp32(checkout: Path, tmp_path: Path) -> None:
    begun = Run(checkout, tmp_path)
    command = [begun.save / "zero_to_fp32.py", begun.save, tmp_path / "out"]
    assert "No module named 'zerofs_megatron'" in run(checkout, command).stderr
    done = run(checkout, command, path=(begun.save / ".zerofs",))
    assert done.returncode == 0 and list((tmp_path / "out").iterdir()), done.stderr[-3000:]
