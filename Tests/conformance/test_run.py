"""zerofs run: a mount for as long as a command runs, one on each node, whoever is killed."""
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from conftest import needs_shared
from mounting import run, two_nodes

READ = "import os, sys; sys.stdout.write(open(os.environ['ZEROFS_MNT'] + '/latest').read() + ' ' + sys.argv[1] + '\\n')"
# Waits in the mount until a file is there.
WAIT = ("import os, sys, time\nname = os.environ.get('PMI_RANK', '0')\nopen(sys.argv[1] + '/' + name, 'w').write("
        "str(os.getpid()) + ' ' + str(os.getppid()) + ' ' + os.environ['ZEROFS_MNT'])\n"
        "while not os.path.exists(sys.argv[1] + '/go'): time.sleep(0.05)\n")
LIMIT = 60


def mounts(hf: Path) -> list[str]:
    return [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines() if f"fuse.zerofs {hf} " in line]


def until(what) -> None:
    end = time.monotonic() + LIMIT
    while not what():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.fixture
def hf(tiny: Path) -> Path:
    """A copy: no other test mounts the same."""
    return tiny


def begin(zerofs: Path, hf: Path, folder: Path, ranks: int, *through: Path) -> tuple[subprocess.Popen, dict[int, list[str]]]:
    """Ranks that wait in the mount: the launcher, and what each rank wrote."""
    process = subprocess.Popen(["mpiexec", "-n", str(ranks), *through, zerofs, "run", hf, "--", sys.executable, "-c", WAIT, folder],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    files = [folder / str(rank) for rank in range(ranks)]
    until(lambda: process.poll() is not None or all(f.is_file() and len(f.read_text().split()) == 3 for f in files))
    assert process.poll() is None, process.communicate()
    return process, {rank: file.read_text().split() for rank, file in enumerate(files)}


def test_words_environment_and_status(hf: Path, zerofs: Path) -> None:
    done = run(zerofs, "run", hf, "--tp", 2, "--", sys.executable, "-c", READ, "{}/x{}")
    tag, word = done.stdout.split()
    assert tag == "global_step0" and word.startswith("/") and word.count("/x/") == 1
    assert mounts(hf) == [] and not Path(word.split("/x/")[0]).exists()
    assert run(zerofs, "run", hf, "--", "bash", "-c", "exit 7").returncode == 7
    assert run(zerofs, "run", hf, "--", "bash", "-c", "kill -9 $$").returncode == 128 + 9
    missing = run(zerofs, "run", hf, "--", "/no/such/program")
    assert missing.returncode == 10 and "/no/such/program: cannot be started" in missing.stderr
    assert mounts(hf) == []


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGUSR1])
def test_signals_are_passed_on(sent: signal.Signals, hf: Path, zerofs: Path, tmp_path: Path) -> None:
    script = f"trap 'exit 42' {sent.name}; touch {tmp_path}/up; while :; do sleep 0.05; done"
    process = subprocess.Popen([zerofs, "run", hf, "--", "bash", "-c", script])
    until((tmp_path / "up").exists)
    process.send_signal(sent)
    assert process.wait(LIMIT) == 42 and mounts(hf) == []


def test_ranks_of_a_node_share_one_mount(hf: Path, zerofs: Path, tmp_path: Path) -> None:
    process, ranks = begin(zerofs, hf, tmp_path, 3)
    assert len({mount for _, _, mount in ranks.values()}) == 1 and len(mounts(hf)) == 1
    assert len(list(Path(mounts(hf)[0]).glob("global_step0/bf16_zero_pp_rank_*"))) == 3      # DP is the launcher's
    status = run(zerofs, "status").stdout
    assert any(line.split()[:2] == [mounts(hf)[0], str(hf)] and "dp3" in line for line in status.splitlines())
    read = sum(len(path.read_bytes()) for path in Path(mounts(hf)[0]).rglob("*.pt"))
    [mount] = [m for m in json.loads(run(zerofs, "status", "--json").stdout) if m["path"] == mounts(hf)[0]]
    assert read <= mount["served"] < 2 * read
    (tmp_path / "go").touch()
    assert process.wait(LIMIT) == 0 and mounts(hf) == []


@pytest.mark.parametrize("victim", ["command", "zerofs", "all of zerofs"])
def test_a_killed_rank_leaves_no_mount(victim: str, hf: Path, zerofs: Path, tmp_path: Path) -> None:
    process, ranks = begin(zerofs, hf, tmp_path, 3)
    killed = {"command": [ranks[1][0]], "zerofs": [ranks[1][1]], "all of zerofs": [r[1] for r in ranks.values()]}[victim]
    for identifier in killed:
        os.kill(int(identifier), signal.SIGKILL)
    if victim != "all of zerofs":      # MPICH lets programs go on that aren't MPI's
        assert mounts(hf) == [ranks[0][2]]
        (tmp_path / "go").touch()
    until(lambda: mounts(hf) == [])
    (tmp_path / "go").touch()      # for orphans
    assert process.wait(LIMIT) != 0


@needs_shared
def test_a_job_killed_with_all_its_daemons_leaves_nothing_for_the_next(hf: Path, zerofs: Path, golden: Path, tmp_path: Path) -> None:
    process, ranks = begin(zerofs, hf, tmp_path, 2)
    for sent in (signal.SIGSTOP, signal.SIGKILL):      # all at once: who waits for the last of them would unmount
        for folder in Path("/proc").glob("[0-9]*"):      # the ranks, their daemon, and who waits for the last of them
            with contextlib.suppress(OSError):
                if str(hf).encode() in (folder / "cmdline").read_bytes().split(b"\0") and os.readlink(folder / "exe") == str(zerofs):
                    os.kill(int(folder.name), sent)
    (tmp_path / "go").touch()
    process.wait(LIMIT)
    assert mounts(hf) == [ranks[0][2]]
    with pytest.raises(OSError, match="not connected"):
        os.statvfs(ranks[0][2])
    assert run(zerofs, "run", golden / "hf/llama_fp16", "--", "true").returncode == 0
    assert mounts(hf) == []


def test_jobs_in_a_row_go_on_from_what_was_saved(hf: Path, zerofs: Path, tmp_path: Path) -> None:
    save = tmp_path / "save"
    first = run(zerofs, "run", hf, "--save", save, "--", "bash", "-c", f"cat {{}}/latest; mkdir {save}; echo half > {save}/x")
    assert (first.returncode, first.stdout) == (0, "global_step0")
    second = run(zerofs, "run", hf, "--save", save, "--", "bash", "-c", f"cat {{}}/latest; printf global_step9 > {save}/latest")
    assert second.stdout == "global_step0"      # the first was ended before it had saved all
    third = run(zerofs, "run", hf, "--save", save, "--", "bash", "-c", 'cat {}/latest; echo " $ZEROFS_MNT" "$@"', "bash",
                "--universal-checkpoint", "--load", "{}")
    assert third.stdout == f"global_step9 {save} --load {save}\n" and mounts(hf) == []


@pytest.fixture
def nodes(tmp_path: Path):
    with two_nodes(tmp_path) as made:
        yield made


def mounts_on(node: subprocess.Popen, hf: Path) -> list[str]:
    lines = Path(f"/proc/{node.pid}/mountinfo").read_text().splitlines()
    return [line.split()[4] for line in lines if f"fuse.zerofs {hf} " in line]


@pytest.mark.skipif(os.geteuid() != 0, reason="mount namespaces need root")
@pytest.mark.parametrize("victim", [None, "command", "zerofs"])
def test_each_node_mounts_for_itself(victim: str | None, nodes, hf: Path, zerofs: Path, tmp_path: Path) -> None:
    enter, kept = nodes
    process, ranks = begin(zerofs, hf, tmp_path, 4, enter)
    for rank, (_, _, mount) in ranks.items():
        assert mounts_on(kept[rank // 2], hf) == [mount]
    assert mounts(hf) == []
    if victim:      # a rank of the first node
        os.kill(int(ranks[1][0 if victim == "command" else 1]), signal.SIGKILL)
        for node, rank in zip(kept, (0, 2)):      # the others go on
            assert mounts_on(node, hf) == [ranks[rank][2]]
    (tmp_path / "go").touch()
    assert (process.wait(LIMIT) == 0) == (victim is None)
    until(lambda: not any(mounts_on(node, hf) for node in kept))


@pytest.mark.skipif(os.geteuid() != 0, reason="mount namespaces need root")
@pytest.mark.parametrize("saves", [True, False])
def test_a_node_that_cannot_mount_is_named(saves: bool, nodes, hf: Path, zerofs: Path, tmp_path: Path) -> None:
    """With a directory that all nodes share the command starts on none of them."""
    enter, kept = nodes
    for number, node in enumerate(kept):
        subprocess.run(["nsenter", "-t", str(node.pid), "-m", "-u", "hostname", f"node{number}"], check=True)
    subprocess.run(["nsenter", "-t", str(kept[1].pid), "-m", "mount", "--bind", "/dev/null", "/dev/fuse"], check=True)
    save = ["--save", tmp_path / "save"] if saves else []
    done = run("mpiexec", "-n", 4, enter, zerofs, "run", hf, *save, "--", "sh", "-c", "echo started $PMI_RANK")
    assert done.returncode != 0
    started = sorted(line for line in done.stdout.splitlines() if "started" in line)
    assert started == ([] if saves else ["started 0", "started 1"])
    said = [line for line in done.stderr.splitlines() if line.startswith("zerofs: ") and "warning" not in line]
    assert said and all(line.startswith("zerofs: node1: the command was not started: ") for line in said), done.stderr
    assert not any(mounts_on(node, hf) for node in kept)


@pytest.mark.skipif(os.geteuid() != 0, reason="mount namespaces need root")
def test_a_node_with_another_model_is_named(nodes, hf: Path, golden: Path, zerofs: Path, tmp_path: Path) -> None:
    enter, kept = nodes
    for number, node in enumerate(kept):
        subprocess.run(["nsenter", "-t", str(node.pid), "-m", "-u", "hostname", f"node{number}"], check=True)
    (model := tmp_path / "model").mkdir()
    for node, source in zip(kept, (hf, golden / "hf/llama_fp32")):
        subprocess.run(["nsenter", "-t", str(node.pid), "-m", "mount", "--bind", source, model], check=True)
    done = run("mpiexec", "-n", 4, enter, zerofs, "run", model, "--save", tmp_path / "save", "--", "echo", "started")
    assert done.returncode != 0 and "started" not in done.stdout
    assert "zerofs: node1 has another source or layout than node0" in done.stderr.splitlines(), done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="a /dev/fuse for all needs root")
def test_in_a_user_namespace(hf: Path, zerofs: Path, tmp_path: Path) -> None:
    """As nobody, who is root in a namespace of its own: unprivileged containers."""
    script = ("rm -f $0/fuse && mknod -m 666 $0/fuse c 10 229 && mount --bind $0/fuse /dev/fuse && exec setpriv --reuid=65534 --regid=65534 "
              "--clear-groups unshare --user --map-root-user --mount \"$@\"")
    tmp_path.chmod(0o755)
    for folder in tmp_path.parents:
        if not os.stat(folder).st_mode & 0o005 == 0o005:
            folder.chmod(folder.stat().st_mode | 0o005)

    def inside(*command: object):
        return run("unshare", "-m", "sh", "-c", script, tmp_path, *command)
    if inside("true").returncode:
        pytest.skip("this kernel gives users no namespaces")
    (out := tmp_path / "out").mkdir()
    out.chmod(0o777)
    done = inside("mpiexec", "-n", 2, zerofs, "run", hf, "--", "sh", "-c", f"cat {{}}/latest > {out}/$PMI_RANK")
    assert done.returncode == 0, done.stderr
    assert {path.name: path.read_text() for path in out.iterdir()} == {"0": "global_step0", "1": "global_step0"}
    assert mounts(hf) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="mount namespaces need root")
def test_mount_8(hf: Path, zerofs: Path, tmp_path: Path) -> None:
    """`mount -t fuse.zerofs`, as for a line of fstab: mount.fuse looks for the program on root's PATH."""
    (point := tmp_path / "mnt").mkdir()
    script = ("mount -t tmpfs none /usr/local/bin && ln -s $0 /usr/local/bin/zerofs; "
              "mount -t fuse.zerofs $1 $2 -o tp=2,no_pipeline_parallel,ro,allow_other,noauto,nofail,_netdev && "
              "ls $2/global_step0 && grep $2 /proc/mounts && umount $2")
    done = run("unshare", "-m", "sh", "-c", script, zerofs, hf, point)
    assert done.returncode == 0, done.stderr
    assert "mp_rank_01_model_states.pt" in done.stdout and "allow_other" in done.stdout
    wrong = run(zerofs, "mount", hf, point, "-o", "noexec,tp=3")
    assert wrong.returncode == 4 and "--tp 3" in wrong.stderr
