"""What can't be served is refused before anything is mounted: one clear line, and an exit status of its own."""
import json
import os
import re
import shlex
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

import safetensors_header
from mounting import daemon_of, mounts_at, run

MODEL, LAYOUT, SOURCE, MOUNTPOINT, FUSE = 3, 4, 5, 6, 7  # exit statuses
SHARD = "model-00002-of-00004.safetensors"
INDEX = "model.safetensors.index.json"


def assert_refused(done: subprocess.CompletedProcess[str], status: int, *words: str) -> None:
    lines = [line for line in done.stderr.splitlines() if "warning" not in line.lower()]
    assert done.returncode == status, f"exit status {done.returncode}: {done.stderr}"
    assert len(lines) == 1, f"not one line: {done.stderr}"
    for word in words:
        assert re.search(word, lines[0], re.IGNORECASE), f"{word!r} is not in: {lines[0]}"


@pytest.fixture
def refused(zerofs: Path, mountpoint: Path) -> Callable[..., None]:
    """refused(hf, status, words, *layout): by `plan` and by `mount`, which leaves nothing mounted."""
    def check(hf: Path, status: int, words: list[str], *layout: object) -> None:
        assert_refused(run(zerofs, "plan", hf, *layout), status, *words)
        assert_refused(run(zerofs, "mount", hf, mountpoint, *layout), status, *words)
        assert not mounts_at(mountpoint)
    return check


def edit_json(path: Path, **changes: object) -> None:
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | changes))


# Models that Megatron-DeepSpeed can't express

@pytest.mark.parametrize("changes, word", [
    ({"model_type": "mixtral"}, "mixtral's experts.*DeepSpeed 0.19.8"),
    ({"model_type": "qwen3"}, "q_norm"),
    ({"model_type": "mpt"}, "ALiBi"),
    ({"rope_parameters": {"rope_theta": 1e300}}, "rope_theta"),
    ({"rope_parameters": {"rope_theta": 0.5}}, "rope_theta"),
    ({"hidden_act": "gelu"}, "gelu"),
    ({"hidden_act": "mish"}, "mish"),
    ({"quantization_config": {"quant_method": "fp8"}}, "quantization"),
], ids=lambda value: value if isinstance(value, str) else "")
def test_model(tiny: Path, refused, changes: dict, word: str) -> None:
    edit_json(tiny / "config.json", **changes)
    refused(tiny, MODEL, [word], "--extension", "none")


# Layouts

@pytest.mark.parametrize("tp", [3, 8, 16])
def test_tensor_parallel_size(tiny: Path, refused, tp: int) -> None:
    """8 heads, 4 KV heads: 3 divides neither, 8 the heads only. The error lists what does."""
    refused(tiny, LAYOUT, ["heads", r"\b1\D+2\D+4\b"], "--tp", tp)


def test_more_stages_than_layers(tiny: Path, refused) -> None:
    refused(tiny, LAYOUT, ["layers", r"\b4\b"], "--pp", 5)


def test_zero_2_with_pipeline_engine(tiny: Path, refused) -> None:
    refused(tiny, LAYOUT, ["zero", "no-pipeline-parallel"], "--zero-stage", 2)


def test_stages_without_pipeline_engine(tiny: Path, refused) -> None:
    refused(tiny, LAYOUT, ["pipeline"], "--pp", 2, "--no-pipeline-parallel")


# Sources

def test_no_configuration(tiny: Path, refused) -> None:
    (tiny / "config.json").unlink()
    refused(tiny, SOURCE, ["config.json"])


def test_malformed_configuration(tiny: Path, refused) -> None:
    (tiny / "config.json").write_text('{"model_type": "llama",')
    refused(tiny, SOURCE, ["config.json"])


def test_missing_shard(tiny: Path, refused) -> None:
    (tiny / SHARD).unlink()
    refused(tiny, SOURCE, [SHARD])


def test_shard_is_a_pipe(tiny: Path, refused) -> None:
    (tiny / SHARD).unlink()
    os.mkfifo(tiny / SHARD)
    refused(tiny, SOURCE, [SHARD])


def edit_weight_map(tiny: Path, edit: Callable[[dict], object]) -> None:
    index = json.loads((tiny / INDEX).read_text())
    edit(index["weight_map"])
    (tiny / INDEX).write_text(json.dumps(index))


def test_tensor_missing_from_index(tiny: Path, refused) -> None:
    edit_weight_map(tiny, lambda entries: entries.pop("model.norm.weight"))
    refused(tiny, SOURCE, ["model.norm.weight"])


@pytest.mark.parametrize("entry", ["../elsewhere.safetensors", "/etc/hostname", "sub/../../elsewhere.safetensors"])
def test_weight_map_leaves_the_directory(tiny: Path, refused, entry: str) -> None:
    shutil.copy(tiny / SHARD, tiny.parent / "elsewhere.safetensors")
    edit_weight_map(tiny, lambda entries: entries.update({"model.norm.weight": entry}))
    refused(tiny, SOURCE, [re.escape(entry)])


def first_tensor(header: dict) -> str:
    return next(name for name in header if name.endswith("down_proj.weight"))


@pytest.mark.parametrize("field, value", [
    ("shape", [32, 352]), ("shape", [64, 175]), ("shape", [11264]), ("shape", [64, -176]),
    ("dtype", "I16"), ("dtype", "F32"), ("dtype", "NOPE"),
    ("data_offsets", [0, 1 << 40]), ("data_offsets", [8, 0]), ("data_offsets", [0, 1 << 63]),
    ("data_offsets", [0]),
], ids=str)
def test_wrong_tensor_entry(tiny: Path, refused, field: str, value: object) -> None:
    header, data = safetensors_header.read(tiny / SHARD)
    name = first_tensor(header)
    header[name][field] = value
    safetensors_header.write(tiny / SHARD, header, data)
    refused(tiny, SOURCE, [re.escape(name)])


def test_tensor_missing_from_its_shard(tiny: Path, refused) -> None:
    header, data = safetensors_header.read(tiny / SHARD)
    name = first_tensor(header)
    header[name.replace("down_proj", "other_proj")] = header.pop(name)
    safetensors_header.write(tiny / SHARD, header, data)
    refused(tiny, SOURCE, [re.escape(name)])


@pytest.mark.parametrize("keep", [0, 4, 8, 100, -2], ids=lambda keep: f"to {keep} bytes")
def test_truncated(tiny: Path, refused, keep: int) -> None:
    content = (tiny / SHARD).read_bytes()
    (tiny / SHARD).write_bytes(content[:keep])
    refused(tiny, SOURCE, [SHARD])


@pytest.mark.parametrize("header", [b"", b"[]", b"{", b'{"a": 1}', b"\xff\xfe" * 8, b"[" * 100_000],
                         ids=lambda header: repr(header[:8]))
def test_malformed_header(tiny: Path, refused, header: bytes) -> None:
    _, data = safetensors_header.read(tiny / SHARD)
    safetensors_header.write(tiny / SHARD, header, data)
    refused(tiny, SOURCE, [SHARD])


@pytest.mark.parametrize("length", [1 << 30, (1 << 63) + 8, (1 << 64) - 1], ids=hex)
def test_header_length_beyond_the_file(tiny: Path, refused, length: int) -> None:
    content = (tiny / SHARD).read_bytes()
    (tiny / SHARD).write_bytes(struct.pack("<Q", length) + content[8:])
    refused(tiny, SOURCE, [SHARD])


# Mountpoints

def test_mountpoint_missing(tiny: Path, zerofs: Path, mountpoint: Path) -> None:
    mountpoint.rmdir()
    assert_refused(run(zerofs, "mount", tiny, mountpoint), MOUNTPOINT, re.escape(str(mountpoint)))


def test_mountpoint_is_a_file(tiny: Path, zerofs: Path, mountpoint: Path) -> None:
    mountpoint.rmdir()
    mountpoint.write_text("precious")
    assert_refused(run(zerofs, "mount", tiny, mountpoint), MOUNTPOINT, "directory")
    assert mountpoint.read_text() == "precious"


def test_mountpoint_not_empty(tiny: Path, zerofs: Path, mountpoint: Path) -> None:
    (mountpoint / "precious").touch()
    assert_refused(run(zerofs, "mount", tiny, mountpoint), MOUNTPOINT, "empty")
    assert not mounts_at(mountpoint)


def test_mountpoint_already_mounted(tiny: Path, zerofs: Path, mount) -> None:
    with mount(tiny) as m:
        assert_refused(run(zerofs, "mount", tiny, m.path), MOUNTPOINT, "mounted")
        assert len(mounts_at(m.path)) == 1
        assert (m.path / "latest").read_text() == "global_step0"


# FUSE

@pytest.fixture
def in_namespace(tiny: Path, zerofs: Path):
    """in_namespace(script): mounts with a /dev and programs of its own, as a user who needs fusermount3."""
    probe = subprocess.run(["unshare", "-m", "sh", "-c", "mount -t tmpfs none /dev && mknod /dev/fuse c 10 229"],
                           capture_output=True, text=True)
    if probe.returncode:
        pytest.skip(f"no mount namespace of our own: {probe.stderr.strip()}")
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        hf, mountpoint, binary = (Path(directory, name) for name in ("hf", "mnt", "zerofs"))
        shutil.copytree(tiny, hf)
        shutil.copy(zerofs, binary)
        mountpoint.mkdir()
        os.chown(mountpoint, 65534, 65534)

        def check(prepare: str, *run_as: str) -> subprocess.CompletedProcess[str]:
            script = f'set -e; mount -t tmpfs none /dev; mknod -m 666 /dev/null c 1 3; {prepare}; exec "$@"'
            return subprocess.run(
                ["unshare", "-m", "sh", "-c", script, "sh", *run_as, binary, "mount", hf, mountpoint],
                capture_output=True, text=True, timeout=60)
        yield check


NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")


def test_no_dev_fuse(in_namespace) -> None:
    assert_refused(in_namespace("true"), FUSE, "/dev/fuse")


def test_no_fusermount3(in_namespace) -> None:
    hide = "mknod -m 666 /dev/fuse c 10 229; for f in $(which -a fusermount3); do mount --bind /dev/null $f; done"
    assert_refused(in_namespace(hide, *NOBODY), FUSE, "fusermount3")


# Warnings: served, and said

@pytest.fixture
def warned(zerofs: Path, mountpoint: Path):
    def check(hf: Path, *layout: object) -> str:
        done = run(zerofs, "mount", hf, mountpoint, *layout)
        try:
            assert done.returncode == 0, done.stderr
            assert (mountpoint / "latest").exists()
            assert daemon_of(mountpoint)
        finally:
            run(zerofs, "umount", mountpoint)
        return done.stderr
    return check


NO_PADDING = ("--make-vocab-size-divisible-by", 7)  # 259 = 37 * 7


def test_no_warning_without_cause(tiny: Path, warned) -> None:
    assert warned(tiny, *NO_PADDING) == ""


def test_warns_of_vocabulary_padding(tiny: Path, warned) -> None:
    said = warned(tiny)
    assert "259" in said and "384" in said and "loss" in said


def test_warns_of_rope_scaling(tiny: Path, warned) -> None:
    rope = {"rope_theta": 10000.0, "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
            "high_freq_factor": 4.0, "original_max_position_embeddings": 64}
    edit_json(tiny / "config.json", rope_parameters=rope)
    assert "rope" in warned(tiny, *NO_PADDING).lower()


def test_warns_of_an_output_layer_beside_the_embedding(tiny: Path, warned) -> None:
    """transformers 5 doesn't tie what differs."""
    edit_json(tiny / "config.json", tie_word_embeddings=True)
    assert "lm_head.weight" in warned(tiny, *NO_PADDING)


def test_warns_of_states_that_cannot_be_loaded(tiny: Path, warned, zerofs: Path) -> None:
    """bf16 in the pipeline engine at stage 0: only the weights. ZeRO 3: only the whole state."""
    for way, other, layout in [("weights only", "full state", ["--zero-stage", 0]),
                               ("full state", "weights only", ["--zero-stage", 3, "--no-pipeline-parallel"])]:
        assert "--finetune" in warned(tiny, *layout, *NO_PADDING)
        said = run(zerofs, "plan", tiny, *layout).stdout
        assert way in said and other not in said


def test_warns_of_sequence_parallel(tiny: Path, zerofs: Path) -> None:
    """Of every model; MDS itself drops the flag at TP 1."""
    ours = "--seq-length 8 --micro-batch-size 1 --global-batch-size 1 --train-iters 1 --lr 1e-4".split()
    for tp, expected in [(1, 0), (2, 1)]:
        layout = ["--tp", tp, "--dp", 1, *NO_PADDING]
        words = shlex.split(run(zerofs, "args", tiny, *layout).stdout, comments=True)
        said = run(zerofs, "plan", tiny, *layout, "--train-args", shlex.join([*words, *ours, "--sequence-parallel"]))
        assert said.returncode == 0, said.stderr
        assert said.stderr.count("--sequence-parallel: MDS under DeepSpeed doesn't sum the gradients") == expected


def test_warns_of_one_kv_head_per_rank(tiny: Path, warned) -> None:
    said = warned(tiny, "--tp", 4, *NO_PADDING)
    assert re.search("one (KV|key.value) head", said, re.IGNORECASE) and "flash" in said.lower()
