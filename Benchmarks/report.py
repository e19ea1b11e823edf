"""RESULTS.md: the tables, between hand-written words that stay (left.md)."""
import statistics
from pathlib import Path

from cold import GOAL, SOONER_GOAL, SOURCE_BYTES_GOAL, Cold, Nodes, OneRank
from converter import STEPS, Way
from measure import Row
from processors import GOAL as READERS_GOAL
from scale import RANDOM_READS, READ_BYTES, Growth, Size
from storage import Found

HERE = Path(__file__).parent
RESULTS = HERE / "RESULTS.md"


def verdict(met: bool) -> str:
    return "✓" if met else "✗"


def spread(values: list[float], digits: int) -> str:
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}–{max(values):.{digits}f})"


def head(machine: dict[str, str], seconds: float) -> str:
    words = "\n".join(f"- {key}: {value}" for key, value in machine.items())
    return (f"# Results of `make bench`\n\nWritten by the benchmark; the words under *What is left* are from "
            f"[left.md](left.md).\n\n{words}\n- it took {seconds:.0f} s\n")


def throughput(rows: list[Row], rounds: int) -> str:
    lines = [
        "## Throughput\n",
        f"Each figure next to its reference, in the same run, interleaved: {rounds} rounds, each at least 256 MiB in "
        "requests of 1 MiB into new memory, as torch.load and other loaders read; *memory reused*: into one MiB that stays in the "
        "cache, as `dd bs=1M` reads. Ratio: median (min–max) of the rounds' ratios; the figures themselves are medians. For "
        "CPU per GB less is better. *Tmpfs*, *ext4*: a plain file with the same bytes. *C twin*: "
        "[twin.c](twin.c), the least that a FUSE program has to do for the same windows.\n",
        "![ratios](ratios.svg)\n",
        *ratios(rows)]
    return "\n".join(lines) + "\n"


def ratios(rows: list[Row]) -> list[str]:
    lines = ["| ZeroFS / reference | ratio | goal | | ZeroFS | reference |", "|---|---|---|---|---|---|"]
    for row in rows:
        ours, reference = (statistics.median(values) for values in zip(*row.values))
        unit, digits = ("GB/s", 2) if row.metric == "speed" else ("s/GB", 3)
        goal = "" if row.goal is None else f"{'≥' if row.metric == 'speed' else '≤'} {row.goal}"
        lines.append(f"| {row.title} | {spread(row.ratios, 2)} | {goal} | {verdict(row.is_met) if goal else ''} "
                     f"| {ours:.{digits}f} {unit} | {reference:.{digits}f} {unit} |")
    return lines


def exported(rows: list[Row], rounds: int) -> str:
    return "\n".join([
        "## Hugging Face directories\n",
        f"A checkpoint of SmolLM2-135M with `--as hf` (masters, rounded to bf16), read by private mappings from a fresh mount, next to "
        f"the same files through libfuse's example passthrough_ll with its page cache; all of it on tmpfs, {rounds} rounds.\n",
        *ratios(rows)]) + "\n"


def cold(found: list[Cold], ranks: list[OneRank], nodes: list[Nodes]) -> str:
    if not found:
        return ""
    lines = [
        "## Cold sources\n",
        "SmolLM2-135M on a file system each request of which takes a fixed time and 2 GB/s (shared/tools/slow.c), and on a disk whose "
        "cache was dropped. *Reference*: the longer of a parallel reader of the same source in the same round (the faster of "
        "16 × 4 MiB and 64 × 1 MiB) and of the same reader of the mount with everything in memory. *Source*: bytes read of the "
        "source, by its size.\n",
        f"| what is read | ratio | goal | | seconds | reference | source (goal ≤ {SOURCE_BYTES_GOAL}) | requests |",
        "|---|---|---|---|---|---|---|---|"]
    for row in found:
        source = statistics.median(row.source)
        lines.append(f"| {row.title} | {row.ratio:.2f} | ≥ {GOAL} | {verdict(row.ratio >= GOAL and source <= SOURCE_BYTES_GOAL)} "
                     f"| {spread(row.ours, 2)} | {spread(row.reference, 2)} | {source:.2f} | {statistics.median(row.requests):.0f} |")
    lines += [
        "",
        "What one rank loads by `torch.load`, of a model with patterned data, from a mount and from the same tree materialised on the "
        "same storage:\n",
        "| one rank of | bytes | mount | tree | sooner by | goal | |", "|---|---|---|---|---|---|---|"]
    lines += [f"| {rank.title} | {rank.count / 1e9:.1f} GB | {rank.ours:.1f} s | {rank.tree:.1f} s | {rank.sooner:.1f} "
              f"| ≥ {SOONER_GOAL} | {verdict(rank.sooner >= SOONER_GOAL)} |" for rank in ranks]
    lines += [
        "",
        "What the twelve ranks of each of four nodes read, each node with a mount and nothing in memory, as the source counts it and as "
        "`zerofs plan --reads` says:\n",
        "| model | counted | planned | counted / planned | each node | a materialised tree |", "|---|---|---|---|---|---|"]
    lines += [f"| {one.title} | {sum(one.counted) / 1e9:.2f} GB | {one.planned / 1e9:.2f} GB | {sum(one.counted) / one.planned:.3f} "
              f"| {' '.join(f'{count / 1e9:.2f}' for count in one.counted)} GB (planned at most {one.largest / 1e9:.2f}) "
              f"| {one.tree / 1e9:.1f} GB |" for one in nodes]
    return "\n".join(lines) + "\n"


def processors(found: dict[int, list[float]], rounds: int) -> str:
    lines = [
        "## Many processors\n",
        "A node of 64 processors simulated on this machine ([processors.py](processors.py)): copies wait for a timer and take no "
        "processor, all else that the daemon does for a read is real. Reads a second of each reader, next to those of one who reads "
        f"alone; {rounds} rounds.\n",
        "| readers | speed of each | goal | |", "|---|---|---|---|"]
    for count, ratios in found.items():
        goal = f"≥ {READERS_GOAL} | {verdict(statistics.median(ratios) >= READERS_GOAL)}" if count == 12 else " | "
        lines.append(f"| {count} | {spread(ratios, 2)} | {goal} |")
    return "\n".join(lines) + "\n"


def sizes(found: list[Size]) -> str:
    lines = [
        "## Full size\n",
        "Models whose tensors are holes, shard for shard as published. *Ready*: from exec of `zerofs mount` to its "
        "return, when the mount can be read. *Listing*: the first `ls -lR` of a mount. *RssAnon*: private memory of the "
        f"daemon, when ready, after four readers read {READ_BYTES / 1e9:.0f} GB together, and at five points of "
        f"{RANDOM_READS} random reads.\n",
        "| model | layout | ready | goal | first `ls -lR` | files | goal | RssAnon ready | after 10 GB | goal "
        "| random reads |", "|---|---|---|---|---|---|---|---|---|---|---|"]
    for size in found:
        listing = statistics.median(size.listing_s)
        listing_goal = f"≤ 1 s {verdict(listing <= 1)}" if "70b" in size.name else ""
        lines.append(
            f"| {size.name} | {size.layout} | {spread(size.ready_ms, 0)} ms "
            f"| ≤ {size.ready_goal_ms:.0f} ms {verdict(statistics.median(size.ready_ms) <= size.ready_goal_ms)} "
            f"| {spread(size.listing_s, 2)} s | {size.listed} | {listing_goal} | {size.rss_start / 1000:.1f} MB "
            f"| {size.rss_read / 1000:.1f} MB | ≤ 32 MB {verdict(size.rss_read <= 32000)} "
            f"| {' '.join(f'{kb / 1000:.1f}' for kb in size.rss_random)} MB |")
    return "\n".join(lines) + "\n"


def growth(found: list[Growth]) -> str:
    base = found[0]
    lines = [
        "## How cost grows\n",
        "The first line is the base; below it one thing is twice as much, and each figure has its ratio to the base. "
        "*First stat* and *first read* are of one optimizer file, which has all parameters of its rank; memory is RssAnon "
        "of the daemon (of `plan`: its peak RSS).\n",
        "| | layers | shards | ranks | plan | plan, memory | mount | mounted, memory | first stat | first read "
        "| then, memory |", "|---|---|---|---|---|---|---|---|---|---|---|"]

    def cell(one: Growth, name: str, unit: str, scale: float, digits: int) -> str:
        value = getattr(one, name)
        ratio = "" if one is base else f" ({value / getattr(base, name):.1f}×)"
        return f"{value * scale:.{digits}f} {unit}{ratio}"

    for one in found:
        cells = [cell(one, "plan_ms", "ms", 1, 0), cell(one, "plan_kb", "MB", 1e-3, 1), cell(one, "mount_ms", "ms", 1, 0),
                 cell(one, "mount_kb", "MB", 1e-3, 1), cell(one, "stat_ms", "ms", 1, 2), cell(one, "read_ms", "ms", 1, 2),
                 cell(one, "read_kb", "MB", 1e-3, 1)]
        lines.append(f"| {one.title} | {one.layers} | {one.shards} | {one.ranks} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def storage(found: Found, rounds: int) -> str:
    lines = [
        "## On disk\n",
        f"SmolLM2-135M-Instruct at TP 1 × PP 1 × DP 2, ZeRO 1; {rounds} rounds, median (min–max). Rates are of bytes of the tree, "
        "holes included. `materialize` syncs each file, also on tmpfs, where that is free.\n",
        *ratios(found.rows)]
    lines += ["", "| archive of a tree with | tree | archive | tree / archive | goal | compress | decompress | goal |",
              "|---|---|---|---|---|---|---|---|"]
    for one in found.archives:
        ratio, slowest = one.tree / one.archive, min(statistics.median(r) for r in (one.compress, one.decompress))
        goal = f"≥ 7 {verdict(ratio >= 7)}" if "zeros" in one.title else ""
        compress, decompress = (spread([rate / 1e9 for rate in rates], 2) for rates in (one.compress, one.decompress))
        lines.append(f"| {one.title} | {one.tree / 1e6:.0f} MB | {one.archive / 1e6:.0f} MB | {ratio:.1f} | {goal} "
                     f"| {compress} GB/s | {decompress} GB/s | ≥ 1 GB/s {verdict(slowest >= 1e9)} |")
    lines += ["", "| peak memory (RSS) | | goal |", "|---|---|---|"]
    lines += [f"| {name} | {kb / 1000:.0f} MB | ≤ 200 MB {verdict(kb <= 200_000)} |" for name, kb in found.peak_kb.items()]
    return "\n".join(lines) + "\n"


CONVERTER = "## Against Megatron-DeepSpeed's converter"


def converter(reference: list[float], ways: list[Way]) -> str:
    def numbers(losses: list[float] | str) -> str:
        return losses if isinstance(losses, str) else " ".join(f"{loss:.4f}" for loss in losses)

    lines = [
        f"{CONVERTER}\n",
        "SmolLM2-135M-Instruct on one CPU rank, to a checkpoint that MDS loads. The converter is run as the oracle's "
        "`mds_run.py --no-client-optimizer --after-init`. Losses: training from the checkpoint, "
        f"{STEPS} steps. A run that starts from the same weights without a checkpoint has {numbers(reference)}.\n",
        "| | wall time | peak memory | written | training loss, step by step | goes right |", "|---|---|---|---|---|---|"]
    for way in ways:
        right = not isinstance(way.losses, str) and all(
            abs(loss - wanted) < 0.02 for loss, wanted in zip(way.losses, reference, strict=True))
        lines.append(f"| {way.title} | {way.seconds:.3g} s | {way.peak_mb:.0f} MB | {way.written_mb:.0f} MB "
                     f"| {numbers(way.losses)} | {verdict(right)} |")
    return "\n".join(lines) + "\n"


def earlier_converter() -> str:
    """The section of the last RESULTS.md, for a machine that has no Megatron-DeepSpeed."""
    text = RESULTS.read_text() if RESULTS.exists() else ""
    _, found, rest = text.partition(CONVERTER)
    if not found:
        return f"{CONVERTER}\n\nNot measured: MEGATRON_DEEPSPEED is not set.\n"
    note = "\n*From an earlier run: MEGATRON_DEEPSPEED was not set in this one.*\n"
    section = (found + rest.partition("\n## ")[0]).rstrip() + "\n"
    return section if note.strip() in section else section + note


def write(sections: list[str]) -> None:
    left = "## What is left\n\n" + (HERE / "left.md").read_text()
    RESULTS.write_text("\n".join([*sections, left]))
