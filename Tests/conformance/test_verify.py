"""`zerofs verify`: a flipped byte is named by file, tensor and element; what MDS saved agrees; garbage is no crash."""
import json
import os
import random
import re
import shutil
import struct
import subprocess
import zipfile
from pathlib import Path

import numpy
import pytest
import torch

import safetensors_header
from files import MANIFEST, flip, tree
from layouts import options
from mounting import run
from test_golden import CASES
from test_refusals import SOURCE, assert_refused

DIFFERS, PARTIAL, IO = 13, 14, 8  # exit statuses
GOLDEN = list(CASES)
NAME = "llama-pipe-tp2pp2dp2-z1-bf16"
LAYOUT = options(CASES[NAME])
LAYER = "global_step0/layer_03-model_01-model_states.pt"
OPTIMIZER = "global_step0/bf16_zero_pp_rank_1_mp_rank_02_optim_states.pt"
MODEL = "global_step0/mp_rank_01_model_states.pt"


def writable_copy(source: Path, target: Path) -> Path:
    shutil.copytree(source, target)
    for path in [target, *target.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    return target


@pytest.fixture
def hf(golden: Path, tmp_path: Path) -> Path:
    return writable_copy(golden / "hf/llama_bf16", tmp_path / "hf")


@pytest.fixture
def written(zerofs: Path, hf: Path, tmp_path: Path) -> Path:
    out = tmp_path / "out"
    done = run(zerofs, "materialize", hf, out, *LAYOUT, "--moments", "zeros")
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture
def verify(zerofs: Path):
    """verify(status, target, *options): its lines on stdout, and one of an error on stderr."""
    def check(status: int, *words: object) -> list[str]:
        done = run(zerofs, "verify", *words)
        assert done.returncode == status, f"{done.returncode}: {done.stdout}{done.stderr}"
        lines = done.stdout.splitlines()
        if status == DIFFERS:
            findings = [line for line in lines if " agree with " not in line]
            assert_refused(done, DIFFERS, rf"\b{len(findings)} differences?, named above")
            return findings
        return lines
    check.zerofs = zerofs
    return check


def tensors(value: object, path: str = "") -> dict[str, torch.Tensor]:
    """By the Python path that zerofs names them by."""
    if isinstance(value, torch.Tensor):
        return {path: value}
    found = {}
    if isinstance(value, dict):
        for key, item in value.items():
            found |= tensors(item, f"{path}.{key}".lstrip(".") if isinstance(key, str) else f"{path}[{key}]")
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            found |= tensors(item, f"{path}[{index}]")
    return found


def loaded(path: Path) -> dict[str, torch.Tensor]:
    return tensors(torch.load(path, weights_only=False, map_location="cpu"))


def bits(tensor: torch.Tensor) -> numpy.ndarray:
    return tensor.detach().contiguous().view({2: torch.int16, 4: torch.int32}[tensor.element_size()]).numpy().view(
        {2: numpy.uint16, 4: numpy.uint32}[tensor.element_size()])


def flip_element(path: Path, name: str, element: int) -> str:
    """Flips a bit of one element of a tensor. What verify must say of it, from torch's and numpy's view of the file."""
    before = loaded(path)[name]
    values = bits(before)
    start = path.read_bytes().find(values.tobytes())
    assert start > 0
    size = before.element_size()
    flip(path, start + element * size + size - 1, 2)
    after = bits(loaded(path)[name])
    (place,) = numpy.argwhere(values != after)
    index = tuple(place)
    return (f"{name}: 1 of {values.size} elements differs, [{', '.join(map(str, place))}]: "
            f"0x{after[index]:0{2 * size}x} instead of 0x{values[index]:0{2 * size}x}")


def flip_weight(hf: Path, name: str, element: int) -> tuple[list[int], int]:
    """Flips a bit of a bf16 weight. Its shape, and what the element is then."""
    header, data = safetensors_header.read(hf / "model.safetensors")
    start = header[name]["data_offsets"][0] + 2 * element
    flip(hf / "model.safetensors", (hf / "model.safetensors").stat().st_size - len(data) + start, 2)
    _, data = safetensors_header.read(hf / "model.safetensors")
    return header[name]["shape"], int.from_bytes(data[start:start + 2], "little")


# Trees that Megatron-DeepSpeed saved

@pytest.mark.parametrize("name", GOLDEN)
def test_golden_tree_agrees(name: str, golden: Path, verify) -> None:
    """Its layout is what its own `args` say."""
    top = golden / "trees" / name
    (said,) = verify(0, top, "--against", golden / "hf" / CASES[name]["hf"])
    counts = re.fullmatch(r".*: (\d+) tensors in (\d+) files agree with .*", said)
    assert counts, said
    files = list(top.rglob("*.pt"))
    assert int(counts[2]) == len(files)
    weights = 0
    for path in files:
        # At ZeRO 3 parameters are in the masters only.
        found = [name for name, tensor in loaded(path).items() if tensor.numel()]
        if path.name.endswith("optim_states.pt"):
            weights += sum(re.search("single_partition_of_fp32|fp32_flat_groups", name) is not None for name in found)
        else:
            weights += sum(name.startswith("module.") or path.name.startswith("layer_") for name in found)
    assert int(counts[1]) >= weights > 0, "every weight and master counts"


@pytest.mark.parametrize("name", [NAME, "llama-nopipe-tp2pp1dp2-z3-bf16", "llama-pipe-tp1pp1dp2-z0-fp16",
                                  "llama-pipe-tp1pp1dp1-z0-fp32"])
def test_flipped_byte_in_each_file_of_a_golden_tree(name: str, golden: Path, tmp_path: Path, verify) -> None:
    copy = writable_copy(golden / "trees" / name, tmp_path / "tree")
    expected = []
    for path in sorted(copy.rglob("*.pt")):
        weights = {key: value for key, value in loaded(path).items() if value.numel() > 200
                   and value.dtype in (torch.bfloat16, torch.float16, torch.float32)
                   and ("fp32" in key if "optim_states" in path.name else "optimizer" not in key)}
        if weights:
            key = max(weights, key=lambda key: weights[key].numel())
            element = int(numpy.flatnonzero(bits(weights[key]))[137])  # no padding
            expected.append(f"{path.relative_to(copy)}: {flip_element(path, key, element)}")
    assert len(expected) >= 2
    found = sorted(verify(DIFFERS, copy, "--against", golden / "hf" / CASES[name]["hf"]))
    # Padded rows are not the model's, and not counted.
    assert [re.sub(r" of \d+ ", " of N ", line) for line in found] == [
        re.sub(r" of \d+ ", " of N ", line) for line in expected]


def test_golden_tree_of_another_model(golden: Path, verify) -> None:
    found = verify(DIFFERS, golden / "trees" / NAME, "--against", golden / "hf/llama_fp16")
    assert any("elements differ" in line for line in found)


def test_copy_of_a_mount_without_its_origin(tmp_path: Path, hf: Path, mount, zerofs: Path, verify) -> None:
    with mount(hf, *LAYOUT) as m:
        shutil.copytree(m.path, tmp_path / "copy")
    (said,) = verify(0, tmp_path / "copy")
    assert "agree with their checksums" in said and "tensors with their copies" in said
    (said,) = verify(0, tmp_path / "copy", "--against", hf)
    assert "tensors in" in said


# Trees that zerofs wrote

def test_agrees(written: Path, hf: Path, verify, tmp_path: Path) -> None:
    files = len(tree(written))
    assert verify(0, written) == [f"{written}: {files} files agree with the manifest"]
    assert verify(0, written, "--against", hf) == [f"{written}: {files} files agree with {hf}"]
    hf.rename(tmp_path / "moved")
    written.rename(tmp_path / "elsewhere")
    assert verify(0, tmp_path / "elsewhere", "--jobs", 1)
    assert verify(0, tmp_path / "elsewhere", "--against", tmp_path / "moved")


@pytest.mark.parametrize("file, tensor", [
    (LAYER, "self_attention.query_key_value.weight"), (LAYER, "input_layernorm.weight"),
    (OPTIMIZER, "optimizer_state_dict.single_partition_of_fp32_groups[0]"),
], ids=str)
def test_flipped_byte_of_a_tensor(file: str, tensor: str, written: Path, hf: Path, verify) -> None:
    elements = loaded(written / file)[tensor].numel()
    for element in (0, elements - 1):
        content = (written / file).read_bytes()
        expected = f"{file}: {flip_element(written / file, tensor, element)}"
        assert verify(DIFFERS, written) == [expected]
        assert verify(DIFFERS, written, "--against", hf) == [expected]
        (written / file).write_bytes(content)
    flip_element(written / file, tensor, 1)
    shutil.rmtree(hf)
    (said,) = verify(DIFFERS, written)
    assert re.fullmatch(rf"{file}: {re.escape(tensor)}: is damaged: record \S+/data/\d+ has another checksum.*", said)


def test_flipped_byte_of_the_moments(written: Path, hf: Path, verify) -> None:
    content = bytearray((written / OPTIMIZER).read_bytes())
    place = content.find(bytes(50_000)) + 40_000
    flip(written / OPTIMIZER, place)
    for words in ((), ("--against", hf)):
        (said,) = verify(DIFFERS, written, *words)
        assert said.startswith(f"{OPTIMIZER}: ")
    shutil.rmtree(hf)
    (said,) = verify(DIFFERS, written)
    assert "exp_avg" in said


def test_any_flipped_byte_is_found(written: Path, hf: Path, verify) -> None:
    """Also where no tensor is: pickles, zip records, texts."""
    rng = random.Random(5)
    files = sorted(tree(written))
    for _ in range(25):
        file = rng.choice(files)
        content = (written / file).read_bytes()
        flip(written / file, rng.randrange(len(content)), rng.randrange(8))
        for words in ((), ("--against", hf)):
            found = verify(DIFFERS, written, *words)
            assert found and all(line.startswith(f"{file}: ") for line in found)
        (written / file).write_bytes(content)
    assert verify(0, written)


def test_missing_truncated_and_too_long(written: Path, hf: Path, verify) -> None:
    size = (written / LAYER).stat().st_size
    (written / OPTIMIZER).unlink()
    with (written / LAYER).open("r+b") as file:
        file.truncate(size - 1)
    with (written / MODEL).open("ab") as file:
        file.write(b"\0")
    (written / "latest").write_text("global_step")
    model = (written / MODEL).stat().st_size
    for words in ((), ("--against", hf)):
        found = {line.split(": ", 1)[0]: line for line in verify(DIFFERS, written, *words)}
        assert found.keys() == {OPTIMIZER, LAYER, MODEL, "latest"}
        assert "is missing" in found[OPTIMIZER]
        assert f"has {size - 1} bytes instead of {size}" in found[LAYER]
        assert f"has {model} bytes instead of {model - 1}" in found[MODEL]
        assert "has 11 bytes instead of 12" in found["latest"]


def test_what_does_not_belong(written: Path, hf: Path, verify, tmp_path: Path) -> None:
    """Files, links and what else isn't a file, whether their contents agree or not."""
    (written / "global_step0/extra.pt").write_text("mine")
    (written / "more").mkdir()
    (written / LAYER).rename(tmp_path / "layer")
    (written / LAYER).symlink_to(tmp_path / "layer")
    (written / MODEL).unlink()
    os.mkfifo(written / MODEL)
    for words in ((), ("--against", hf)):
        found = verify(DIFFERS, written, *words)
        assert set(found) == {
            "global_step0/extra.pt: does not belong to this checkpoint", "more: does not belong to this checkpoint",
            f"{LAYER}: is not a file but a symbolic link", f"{MODEL}: is not a file but a FIFO"}


def test_chosen_files_are_not_all(zerofs: Path, hf: Path, tmp_path: Path, verify) -> None:
    out = tmp_path / "out"
    done = run(zerofs, "materialize", hf, out, "--files", "latest", "global_step0/layer_0[12]*")
    assert done.returncode == 0, done.stderr
    for _ in range(2):
        assert_refused(run(zerofs, "verify", out), PARTIAL, r"3 of the \d+ files")
        if hf.exists():
            shutil.rmtree(hf)


@pytest.mark.parametrize("change, word", [
    (lambda m: m.update(files=[]), "its manifest names no file"),
    (lambda m: m["files"].append({"path": "../../etc/shadow", "size": 5, "crc32": "0"}), "leaves the tree"),
    (lambda m: m.update(files=[{"path": p, "size": 2**63 - 1, "crc32": "0"} for p in "ab"]), "b has"),
    (lambda m: m["files"][0].update(size=-1), "has -1 bytes"),
    (lambda m: m["files"].append(m["files"][0]), "is in it twice"),
], ids=["empty", "path", "sizes", "negative", "twice"])
def test_manifests_that_nobody_writes(change, word: str, written: Path, zerofs: Path) -> None:
    content = json.loads((written / MANIFEST).read_text())
    change(content)
    (written / MANIFEST).write_text(json.dumps(content))
    assert_refused(run(zerofs, "verify", written), SOURCE, word)


def test_amplified_pickles(written: Path, hf: Path, verify, tmp_path: Path) -> None:
    """A small .pt that describes much: a finding, in bounded memory."""
    def pt(pickle: bytes) -> None:
        with zipfile.ZipFile(written / LAYER, "w") as archive:
            archive.writestr("x/data.pkl", b"\x80\x02" + pickle + b".")
            archive.writestr("x/data/0", bytes(8))
            archive.writestr("x/version", "3\n")
    tensor = (b"ctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000NK\x02tQ"
              b"K\0K\x02\x85K\x01\x85\x89NtR")
    key = b"k" * 100_000
    many = b"](" + tensor + b"q\0" + b"h\0" * 50_000 + b"e"
    for pickle in (b"N" + b"q\0h\0\x86" * 30,
                   b"}X" + len(key).to_bytes(4, "little") + key + many + b"s",
                   b"}X\xf4\x01\0\0" + b"k" * 500 + b"q\1" + many + b"s" + b"".join(
                       b"q\2}h\1h\2s" for _ in range(150))):
        pt(pickle)
        for words in ((), ("--against", hf)):
            limited = f"ulimit -v 4000000; exec {verify.zerofs} verify {written} {' '.join(map(str, words))}"
            done = subprocess.run(["sh", "-c", limited], capture_output=True, text=True, timeout=60)
            assert done.returncode == DIFFERS and LAYER in done.stdout, done.stderr[-300:]


def garbage(size: int) -> dict[str, bytes]:
    rng = random.Random(3)
    return {"noise": rng.randbytes(size), "zeros": bytes(size), "text": (b"no checkpoint " * size)[:size], "empty": b"",
            "end record": bytes(size - 22) + b"PK\5\6" + bytes(18)}


@pytest.mark.parametrize("kind", garbage(30))
def test_garbage(kind: str, written: Path, golden: Path, hf: Path, tmp_path: Path, verify) -> None:
    for file in (LAYER, MODEL, OPTIMIZER):
        content = garbage((written / file).stat().st_size)[kind]
        (written / file).write_bytes(content)
    for words in ((), ("--against", hf)):
        found = verify(DIFFERS, written, *words)
        assert [line.split(": ")[0] for line in found] == sorted([LAYER, MODEL, OPTIMIZER])
    copy = writable_copy(golden / "trees" / NAME, tmp_path / "tree")
    (copy / LAYER).write_bytes(content)
    assert [line.split(": ")[0] for line in verify(DIFFERS, copy, "--against", hf)] == [LAYER]
    (copy / "global_step0/mp_rank_00_model_states.pt").write_bytes(content)
    verify(SOURCE, copy, "--against", hf)  # the layout can't be read


def test_mutated_files_of_a_golden_tree(golden: Path, hf: Path, tmp_path: Path, zerofs: Path) -> None:
    """Never a crash: agreement where the change is in no weight, or a finding."""
    copy = writable_copy(golden / "trees/llama-pipe-tp1pp1dp1-z1-bf16", tmp_path / "tree")
    rng = random.Random(9)
    statuses = set()
    for name in ("mp_rank_00_model_states.pt", "layer_02-model_00-model_states.pt"):
        path = copy / "global_step0" / name
        original = path.read_bytes()
        for _ in range(30):
            content = bytearray(original)
            for _ in range(rng.randrange(1, 5)):
                end = len(content)
                content[rng.choice((rng.randrange(end), rng.randrange(2000), end - rng.randrange(1, 900)))] ^= (
                    1 << rng.randrange(8))
            path.write_bytes(content)
            done = run(zerofs, "verify", copy, "--against", hf)
            statuses.add(done.returncode)
            assert done.returncode in (0, 3, 4, 5, 10, DIFFERS), f"{done.returncode}: {done.stderr}"
        path.write_bytes(original)
    assert {0, DIFFERS} <= statuses


def test_nothing_to_verify(hf: Path, tmp_path: Path, zerofs: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert_refused(run(zerofs, "verify", tmp_path / "none"), SOURCE, "none", "No such file")
    assert_refused(run(zerofs, "verify", tmp_path / "empty"), SOURCE, "--against HF_DIR")
    assert_refused(run(zerofs, "verify", tmp_path / "empty", "--against", hf), SOURCE, "`latest`")
    (tmp_path / "empty/latest").write_text("global_step7")
    assert_refused(run(zerofs, "verify", tmp_path / "empty", "--against", hf), SOURCE, "global_step7")


# Mounts

def test_mount(hf: Path, golden: Path, mount, verify) -> None:
    with mount(hf, *LAYOUT, "--moments", "zeros") as m:
        assert verify(0, m.path) == [f"{m.path}: {len(tree(m.path))} files agree with {hf}"]
        assert verify(0, m.path, "--against", golden / "hf/llama_bf16")
        verify(DIFFERS, m.path, "--against", golden / "hf/llama_fp16")
        for name in ("tp4-pp1-dp3", "dp2-pp1-zero3-nopipe"):
            assert verify(0, m.path / name, "--against", hf)


def test_mount_against_other_weights(hf: Path, golden: Path, mount, verify) -> None:
    """One element of one weight: in a layer file, and in the master of it."""
    flip_weight(hf, "model.layers.3.mlp.down_proj.weight", 0)
    with mount(hf, "--dp", 2) as m:
        found = verify(DIFFERS, m.path, "--against", golden / "hf/llama_bf16")
        assert len(found) == 2
        assert sum(re.search(r"dense_4h_to_h.weight: 1 of \d+ elements differs, \[0, 0\]: ", line) is not None
                   for line in found) == 1
        assert sum("optim_states.pt: optimizer_state_dict.single_partition_of_fp32_groups[0]: 1 of" in line
                   for line in found) == 1


# Archives

@pytest.fixture
def archive(zerofs: Path, hf: Path, tmp_path: Path) -> Path:
    out = tmp_path / "model.zarc"
    done = run(zerofs, "materialize", hf, out, "--compress", "zstd", *LAYOUT)
    assert done.returncode == 0, done.stderr
    return out


def test_archive_agrees(archive: Path, hf: Path, verify, tmp_path: Path) -> None:
    assert verify(0, archive) == [f"{archive}: 5 files of the model agree with their checksums"]
    assert verify(0, archive, "--against", hf) == [f"{archive}: 5 files of the model agree with {hf}"]
    assert verify(0, archive, "--against", shutil.copy(archive, tmp_path / "copy.zarc"))


def test_archive_against_other_weights(archive: Path, hf: Path, golden: Path, verify) -> None:
    name = "model.layers.2.self_attn.k_proj.weight"
    (rows, cols), value = flip_weight(hf, name, 3 * 64 + 5)
    assert cols == 64
    assert verify(DIFFERS, archive, "--against", hf) == [
        f"model.safetensors: {name}: 1 of {rows * cols} elements differs, "
        f"[3, 5]: 0x{value ^ 4:04x} instead of 0x{value:04x}"]
    found = verify(DIFFERS, archive, "--against", golden / "hf/llama_bf16_sharded")
    assert any("model.safetensors: is not in the model" in line for line in found)


def test_flipped_byte_of_an_archive(archive: Path, hf: Path, tmp_path: Path, verify) -> None:
    """The elements that differ are those that `zstd --no-check` restores wrong."""
    original, named = archive.read_bytes(), 0
    header, data = safetensors_header.read(hf / "model.safetensors")
    rng = random.Random(4)
    for _ in range(8):
        archive.write_bytes(original)
        flip(archive, rng.randrange(20_000, len(original) - 20_000), rng.randrange(8))
        for words in ((), ("--against", hf)):
            found = verify(DIFFERS, archive, *words)
            assert found and all(line.startswith("model.safetensors: ") for line in found)
        if "is damaged" in found[0]:
            continue
        top = tmp_path / str(named)
        top.mkdir()
        subprocess.run(f"zstd -q -dc --no-check {archive} | tar x", shell=True, cwd=top, check=True)
        subprocess.run(["/usr/bin/python3", "restore.py"], cwd=top, capture_output=True)
        _, restored = safetensors_header.read(top / "hf/model.safetensors")
        expected = set()
        for name, entry in header.items():
            if name != "__metadata__":
                part = slice(*entry["data_offsets"])
                a, b = (numpy.frombuffer(x[part], numpy.uint16).reshape(entry["shape"]) for x in (data, restored))
                if len(places := numpy.argwhere(a != b)):
                    count, first = len(places), tuple(places[0])
                    words = "s, " if count == 1 else ", first "
                    expected.add(f"model.safetensors: {name}: {count} of {a.size} elements differ{words}"
                                 f"[{', '.join(map(str, first))}]: 0x{b[first]:04x} instead of 0x{a[first]:04x}")
        assert set(found) == expected
        named += 1
    assert named > 0, "no flip left a frame that can be decoded"


def test_every_frame_of_an_archive(archive: Path, tmp_path: Path, verify) -> None:
    """Also those that only standard tools need: restore.py, tar headers, padding, the seek table."""
    original = archive.read_bytes()
    frames = struct.unpack("<I", original[-9:-5])[0]
    sizes = [struct.unpack("<II", original[-9 - 8 * (frames - n):][:8])[0] for n in range(frames)]
    assert sum(sizes) + 8 * frames + 17 == len(original) and frames > 15
    for number in range(frames):
        archive.write_bytes(original)
        flip(archive, sum(sizes[:number]) + sizes[number] * 2 // 3)
        verify(SOURCE if number == frames - 1 else DIFFERS, archive)
