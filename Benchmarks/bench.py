import sys
from pathlib import Path
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "Tests/conformance"))
import tempfile, throughput, time, statistics
t=time.time()
with tempfile.TemporaryDirectory(dir="/dev/shm") as d:
    disk=Path("/tmp/zfb/disk"); disk.mkdir(exist_ok=True)
    for r in throughput.measure(Path(sys.argv[1]).resolve(), Path(d), disk, int(sys.argv[2])):
        o=statistics.median(v[0] for v in r.values); f=statistics.median(v[1] for v in r.values)
        print(f"{r.title:60s} {r.median:.2f} ({min(r.ratios):.2f}-{max(r.ratios):.2f}) goal {r.goal} | {o:.2f} / {f:.2f}", flush=True)
print(time.time()-t)
