"""How soon a server that is started answers, what it needs, and what it does when nobody asks.

    python benches/start.py target/release/cachalot MODEL.gguf

Starts a server of the model in a home directory of its own, asks it something at once, and ends it; the first start packs
the weights and keeps them on disk, the others map them. Times are from the start of the process; "first token" is that of
a short chat, streamed. Memory is the greatest resident size until the answer has ended (VmHWM), less what the file's
weights and the answer's keys and values take. Idle is the processor time of 10 seconds without a request. Writes
benches/record/DATE-MACHINE-start.md, and fails where a bound is passed: 500 ms to the first token for a model of less than
150 MB with its weights packed, 100 MiB beside weights and cache, 1 % when idle. Python's standard library only.
"""

import datetime
import json
import os
import pathlib
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

from serving import Server, facts, spread, write_record

STARTS = 6
IDLE_SECONDS = 10
FIRST_TOKEN_MS_MAX = 500
BESIDE_MIB_MAX = 100
IDLE_PERCENT_MAX = 1
SMALL_BYTES = 150 << 20


def start(binary: str, model: str, home: str) -> dict:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    environment = os.environ | {"CACHALOT_HOME": home, "CACHALOT_LOG": "warn"}
    command = [binary, "up", "--listen", f"127.0.0.1:{port}", "--model", model]
    began = time.perf_counter()
    with (pathlib.Path(home) / "log").open("ab") as log:
        process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        wait_for(port, process)
        ready = time.perf_counter() - began
        server = Server(port)
        asked = time.perf_counter() - began
        stream = server.stream(messages=[{"role": "user", "content": "Hi."}], max_tokens=32, temperature=0)
        status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
        peak = int(re.search(r"VmHWM:\s*(\d+)", status)[1]) / 1024
        cache = kv_mib(process.pid)
        # What is written beside the first answer is not idleness.
        time.sleep(3)
        before = processor_seconds(process.pid)
        time.sleep(IDLE_SECONDS)
        idle = (processor_seconds(process.pid) - before) / IDLE_SECONDS * 100
        return {
            "start to ready, ms": ready * 1000,
            "start to first token, ms": (asked + stream.first_s) * 1000,
            "peak memory, MiB": peak,
            "of it keys and values, MiB": cache,
            "idle, % of a core": idle,
        }
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def wait_for(port: int, process: subprocess.Popen) -> None:
    """Until it listens: its socket is there before the model, so that who asks waits in it."""
    while process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.002)
            continue
        Server(port)
        return
    raise SystemExit(f"the server ended with {process.returncode}")


def processor_seconds(pid: int) -> float:
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def kv_mib(pid: int) -> float:
    """What is resident of the KV cache: of all memory without a file it has the most addresses. It lies in huge pages, of
    which a short text takes one for each layer."""
    found, size = [], None
    for line in pathlib.Path(f"/proc/{pid}/smaps").read_text().splitlines():
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            is_anonymous = len(line.split()) == 5
        elif line.startswith("Size:"):
            size = int(line.split()[1])
        elif line.startswith("Rss:") and is_anonymous:
            found.append((size, int(line.split()[1])))
    return max(found)[1] / 1024


def weights(binary: str, model: str) -> dict:
    command = [binary, "bench", model, "-p", "1", "-n", "1", "-r", "1", "--no-limits", "--no-pack-cache", "--json"]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def main() -> None:
    binary, model = sys.argv[1:]
    weight_mib = weights(binary, model)["weight_bytes"] / 2**20
    with tempfile.TemporaryDirectory() as home:
        runs = [start(binary, model, home) for _ in range(STARTS)]
    loads = [os.getloadavg()[0]]
    first, others = runs[0], runs[1:]
    lines = ["| | first start, which packs | the others |", "|---|---|---|"]
    for key in first:
        lines.append(f"| {key} | {first[key]:.1f} | {spread([run[key] for run in others])} |")
    beside = [run["peak memory, MiB"] - run["of it keys and values, MiB"] - weight_mib for run in runs]
    title = f"of it beside these and {weight_mib:.0f} MiB of weights"
    lines.append(f"| {title} | {beside[0]:.1f} | {spread(beside[1:])} |")
    text = "\n".join(
        [
            f"# Start, memory and idleness: {datetime.date.today()}",
            "",
            facts(binary, model, loads),
            "",
            f"`cachalot up` with {STARTS} starts one after the other; median (least to greatest). The file is in the page cache.",
            "",
            *lines,
            "",
        ]
    )
    print(text)
    print(f"wrote {write_record('start', text).name}", file=sys.stderr)
    failures = []
    to_first = statistics.median(run["start to first token, ms"] for run in others)
    if pathlib.Path(model).stat().st_size < SMALL_BYTES and to_first > FIRST_TOKEN_MS_MAX:
        failures.append(f"{to_first:.0f} ms to the first token; allowed: {FIRST_TOKEN_MS_MAX}")
    if max(beside) > BESIDE_MIB_MAX:
        failures.append(f"{max(beside):.0f} MiB beside the weights; allowed: {BESIDE_MIB_MAX}")
    idle = statistics.median(run["idle, % of a core"] for run in runs)
    if idle > IDLE_PERCENT_MAX:
        failures.append(f"{idle:.1f} % of a core when idle; allowed: {IDLE_PERCENT_MAX}")
    if failures:
        raise SystemExit("; ".join(failures))


if __name__ == "__main__":
    main()
