"""Who gets in, and what a hostile model directory gets out: of a mount, of messages, of the log."""
import json
import os
import resource
import struct
import subprocess
import zipfile
from pathlib import Path

import pytest

from mounting import run

SECRET = b"root:$6$hunter2hunter2:19000:0:99999:7:::\n"


def as_nobody(*command: object) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(list(map(str, command)), capture_output=True, user=65534, group=65534, extra_groups=[], timeout=60)


@pytest.fixture
def open_paths(tmp_path_factory):
    """Directories of pytest's are the user's own; others have to get to the mount point."""
    base = tmp_path_factory.getbasetemp()
    for path in (base, base.parent):
        if path.owner() == Path.home().owner() and path != Path("/tmp"):
            path.chmod(0o755)


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes nobody")
@pytest.mark.parametrize("options, gets_in", [([], False), (["-o", "allow_other"], True),
                                              (["-o", "allow_other,default_permissions"], True)])
def test_other_users(tiny: Path, mount, open_paths, options: list, gets_in: bool) -> None:
    with mount(tiny, *options) as m:
        m.path.parent.chmod(0o755)
        file = m.path / "global_step0/layer_03-model_00-model_states.pt"
        own = file.read_bytes()
        for path in (m.path / "latest", file, m.path / ".zerofs/log"):
            read = as_nobody("cat", path)
            assert (read.returncode == 0) == gets_in, (path, read.stderr)
        if gets_in:
            assert as_nobody("cat", file).stdout == own
            written = as_nobody("sh", "-c", f"echo x > {file}")
            assert written.returncode and file.read_bytes() == own
        assert file.read_bytes() == own


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes nobody")
@pytest.mark.parametrize("name", ["config.json", "model.safetensors.index.json", "model.safetensors", "shard.safetensors",
                                  "tokenizer.json", "generation_config.json", "ds.json", "run.sh"])
def test_links_to_what_only_root_may_read(tiny: Path, zerofs: Path, mount, tmp_path: Path, name: str) -> None:
    """Whoever made the directory learns nothing of the file, whatever root does with the directory."""
    secret = tmp_path / "secret"
    secret.write_bytes(SECRET)
    secret.chmod(0o600)
    link = tiny / name
    if name == "shard.safetensors":
        index = json.loads((tiny / "model.safetensors.index.json").read_text())
        index["weight_map"] = {tensor: name for tensor in index["weight_map"]}
        (tiny / "model.safetensors.index.json").write_text(json.dumps(index))
    link.unlink(missing_ok=True)
    link.symlink_to(secret)
    out, mountpoint = tmp_path / "out", tmp_path / "mnt"
    mountpoint.mkdir()
    said = b""
    for words in [("plan", tiny), ("plan", tiny, "--json"), ("args", tiny), ("check", tiny), ("configuration", tiny),
                  ("materialize", tiny, out), ("materialize", tiny, tmp_path / "a.zarc", "--compress", "zstd"),
                  ("mount", tiny, mountpoint), ("umount", mountpoint)]:
        done = run(zerofs, *words)
        said += (done.stdout + done.stderr).encode()
        if words[0] == "mount" and done.returncode == 0:
            said += b"".join((mountpoint / ".zerofs" / report).read_bytes() for report in ("log", "source.json", "plan.json"))
            said += b"".join(path.read_bytes() for path in mountpoint.rglob("*") if path.is_file())
    written = b"".join(path.read_bytes() for path in out.rglob("*") if path.is_file())
    if (tmp_path / "a.zarc").exists():
        written += subprocess.run(["zstd", "-dcq", tmp_path / "a.zarc"], capture_output=True, check=True).stdout
    assert b"hunter2" not in said + written and SECRET[:8] not in said + written


FORGED = "\nzerofs: all is well\x1b[2J\u2028\u202e"


def in_one_line(done: subprocess.CompletedProcess[str]) -> None:
    text = done.stderr + done.stdout
    assert not any(character in text for character in "\x1b\u2028\u202e\r"), text
    assert not [line for line in text.split("\n") if line.startswith("zerofs: all is well")], text


def test_lines_cannot_be_forged(tiny: Path, zerofs: Path, mount, tmp_path: Path) -> None:
    """By the name of a directory, a shard, a tensor, a layout, a member of config.json or of a manifest."""
    named = tmp_path / f"model{FORGED}"
    tiny.rename(named)
    for verb in ("plan", "check"):
        in_one_line(run(zerofs, verb, named))
        in_one_line(run(zerofs, verb, named / "absent"))
    with mount(named) as m:
        for name in (f"tp2{FORGED}", f"x{FORGED}"):
            with pytest.raises(OSError):
                (m.path / name).stat()
        with pytest.raises(OSError):
            (m.path / f"tp3{FORGED}/latest").read_text()
        log = (m.path / ".zerofs/log").read_text()
        assert not any(character in log for character in "\x1b\u2028\u202e") and "\nzerofs: all is well" not in log
        in_one_line(run(zerofs, "status"))
    out = tmp_path / "out"
    assert run(zerofs, "materialize", named, out).returncode == 0
    (out / f"more{FORGED}").write_text("")
    in_one_line(run(zerofs, "verify", out))
    manifest = json.loads((out / "zerofs-manifest.json").read_text())
    manifest["files"].append({"path": f"absent{FORGED}", "size": 1, "crc32": "00000000"})
    (out / "zerofs-manifest.json").write_text(json.dumps(manifest))
    done = run(zerofs, "verify", out)
    assert done.returncode == 13
    in_one_line(done)
    config = json.loads((named / "config.json").read_text())
    for key, value in [("model_type", FORGED), ("hidden_act", FORGED), ("hidden_size", FORGED), ("dtype", FORGED)]:
        (named / "config.json").write_text(json.dumps(config | {key: value}))
        in_one_line(run(zerofs, "plan", named))
    in_one_line(run(zerofs, "plan", named, "--train-args", f"--seq-length {FORGED}"))
    in_one_line(run(zerofs, "plan", named, "--deepspeed-config", json.dumps({"zero_optimization": {"stage": FORGED}})))


# Files that claim, or do, more than they may

def within(gigabytes: int):
    limit = gigabytes << 30
    return lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def test_descriptions_of_gigabytes(tiny: Path, zerofs: Path) -> None:
    for name in ("config.json", "model.safetensors.index.json"):
        content = (tiny / name).read_bytes()
        os.truncate(tiny / name, 5 << 30)
        done = subprocess.run([zerofs, "plan", tiny], capture_output=True, text=True, timeout=60, preexec_fn=within(8))
        assert done.returncode == 5 and "has 5.4 GB, and at most" in done.stderr, done.stderr
        (tiny / name).write_bytes(content)


def seekable(frames: list[bytes], sizes: list[int]) -> bytes:
    """A seekable zstd file whose table claims `sizes`."""
    entries = b"".join(struct.pack("<II", len(frame), size) for frame, size in zip(frames, sizes))
    table = entries + struct.pack("<IBI", len(frames), 0, 0x8F92EAB1)
    return b"".join(frames) + struct.pack("<II", 0x184D2A5E, len(table)) + table


def zstd(content: bytes) -> bytes:
    return subprocess.run(["zstd", "-qc", "--check", "-3"], input=content, capture_output=True, check=True).stdout


@pytest.fixture(scope="module")
def bomb() -> bytes:
    """A frame of a gigabyte."""
    frame = subprocess.run("head -c 1G /dev/zero | zstd -qc --check -1", shell=True, capture_output=True, check=True).stdout
    assert len(frame) < 200_000
    return frame


@pytest.mark.parametrize("claims", [5000, 1 << 20, 8 << 20, 1 << 30, (1 << 32) - 1])
def test_archives_expand_to_what_they_declare(bomb: bytes, zerofs: Path, tmp_path: Path, claims: int) -> None:
    """Whatever the table says: refused in less memory than the frame holds."""
    archive = tmp_path / "bomb.zarc"
    archive.write_bytes(seekable([bomb], [claims]))
    for verb in ("plan", "verify"):
        done = subprocess.run([zerofs, verb, archive], capture_output=True, text=True, timeout=60, preexec_fn=within(1))
        assert done.returncode in (5, 8) and "bomb.zarc" in done.stderr.splitlines()[-1], done.stderr


def test_a_million_frames(zerofs: Path, tmp_path: Path) -> None:
    """Their table is read in linear time, and no memory is made for what they claim."""
    frame = zstd(b"x")
    archive = tmp_path / "many.zarc"
    archive.write_bytes(seekable([frame] * 1_000_000, [1] * 1_000_000))
    done = subprocess.run([zerofs, "plan", archive], capture_output=True, text=True, timeout=120, preexec_fn=within(2))
    assert done.returncode == 5, done.stderr


@pytest.mark.parametrize("name, value", [("--deepspeed-config", "{}"), ("deepspeed-config", "{}"), ("train-args", "{}")])
def test_records_name_no_files(tiny: Path, zerofs: Path, tmp_path: Path, name: str, value: str) -> None:
    """What a manifest records is text: the name of a file there is not opened."""
    secret = tmp_path / "secret.json"
    secret.write_text('{"hunter2": 1, "train_batch_size": 77}')
    out = tmp_path / "out"
    assert run(zerofs, "materialize", tiny, out).returncode == 0
    manifest = json.loads((out / "zerofs-manifest.json").read_text())
    manifest["origin"]["options"] = [name, str(secret)] if name.startswith("-") else manifest["origin"]["options"] | {name: str(secret)}
    (out / "zerofs-manifest.json").write_text(json.dumps(manifest))
    done = run(zerofs, "verify", out, "--against", tiny)
    assert done.returncode not in (0, 1) and "hunter2" not in done.stdout + done.stderr, done.stderr


def test_pickles_run_nothing(tiny: Path, zerofs: Path, tmp_path: Path) -> None:
    """Whatever global they call: that tensors are missing is a finding."""
    out, executed = tmp_path / "out", tmp_path / "executed"
    assert run(zerofs, "materialize", tiny, out).returncode == 0
    (out / "zerofs-manifest.json").unlink()  # with it, sizes are compared first
    layer = out / "global_step0/layer_03-model_00-model_states.pt"
    command = f"touch {executed}".encode()
    for pickle in (b"\x80\x02cposix\nsystem\nX" + struct.pack("<I", len(command)) + command + b"\x85R.",
                   b"\x80\x02cbuiltins\neval\nX\x01\0\0\x001\x85R.", b"\x80\x02ctorch.nn\nLinear\n)\x81}b."):
        with zipfile.ZipFile(layer, "w") as archive:
            archive.writestr("x/data.pkl", pickle)
        said = run(zerofs, "verify", out, "--against", tiny)
        assert said.returncode == 13 and layer.name in said.stdout and not executed.exists(), said.stderr
