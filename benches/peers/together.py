"""Eight chats at once over HTTP: output tokens a second and time to first token, against llama.cpp's servers.

    python benches/peers/together.py target/release/cachalot MODEL.gguf \\
        --server "llama.cpp=/path/to/llama-server -fa on" --server "ik_llama.cpp=/path/to/llama-server -fa -rtr"

Each round starts each server anew, in turn and every other round backwards, waits until it is ready, asks once to warm it
up, and then sends eight chats at the same moment: prompts of about 200 tokens, all different, of which each answer takes
128 tokens (fewer where a model ends by itself; what is counted is what was generated). What is reported is the median over
rounds and the spread. Writes benches/record/DATE-MACHINE-together[-NAME].md. Python's standard library only.
"""

import argparse
import datetime
import http.client
import os
import pathlib
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from serving import Server, facts, serving, spread, write_record  # noqa: E402

CHATS = 8
PROMPT_WORDS = 180
TOKENS = 128
READY_SECONDS_MAX = 120
WORDS = (
    "whale ocean dive deep sound song north south ice wave storm ship rope keel mast sail crew night morning light water "
    "cold warm slow fast long short first last every other under over with about near far"
).split()
OURS = "cachalot"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cachalot")
    parser.add_argument("model")
    parser.add_argument("--server", action="append", default=[], metavar="NAME=COMMAND", help="like llama-server")
    parser.add_argument("--threads", default="2", help="thread counts, with commas")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--name", default="", help="end of the record's name")
    parser.add_argument("--no-record", action="store_true", help="print only")
    options = parser.parse_args()
    options.threads = [int(count) for count in options.threads.split(",")]
    return options


@contextmanager
def peer(command: str, model: str, threads: int) -> Iterator[Server]:
    """One of llama.cpp's servers, with a place for each chat."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    more = ["-m", model, "-t", str(threads), "-np", str(CHATS), "-c", str(CHATS * 512), "--port", str(port)]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen([*command.split(), *more], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + READY_SECONDS_MAX
            while not is_ready(port):
                if process.poll() is not None or time.monotonic() > deadline:
                    log.seek(0)
                    raise SystemExit(f"{command} is not ready: {log.read()[-2000:].decode(errors='replace')}")
                time.sleep(0.1)
            # ik_llama.cpp with -rtr was seen to end an answer before its first word: none of the peers' may end early.
            yield Server(port, {"ignore_eos": True})
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def is_ready(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def prompt(seed: str) -> list[dict]:
    words = " ".join(random.Random(seed).choices(WORDS, k=PROMPT_WORDS))
    return [{"role": "user", "content": f"Write a very long story with many chapters that has these words in it: {words}."}]


def measure(server: Server, salt: str) -> dict:
    """All chats at once; the first only warms up."""
    server.stream(messages=prompt(f"{salt} warm"), max_tokens=8, temperature=0)
    streams: list = [None] * CHATS
    together = threading.Barrier(CHATS + 1)

    def chat(number: int) -> None:
        together.wait()
        streams[number] = server.stream(messages=prompt(f"{salt} {number}"), max_tokens=TOKENS, temperature=0)

    threads = [threading.Thread(target=chat, args=(number,)) for number in range(CHATS)]
    for thread in threads:
        thread.start()
    together.wait()
    began = time.perf_counter()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - began
    if None in streams:
        raise SystemExit("a chat was not answered")
    first = [stream.first_s * 1000 for stream in streams]
    return {
        "output tokens/s": sum(stream.usage["completion_tokens"] for stream in streams) / took,
        "first token, median of the eight, ms": statistics.median(first),
        "first token, last of the eight, ms": max(first),
        "between tokens, ms": statistics.mean(stream.between_tokens_ms for stream in streams),
        "tokens of a prompt": statistics.mean(stream.usage["prompt_tokens"] for stream in streams),
        "tokens of an answer": statistics.mean(stream.usage["completion_tokens"] for stream in streams),
    }


def main() -> None:
    options = arguments()
    peers = dict(given.split("=", 1) for given in options.server)
    lines, loads = [], []
    for threads in options.threads:
        runs: dict[str, list[dict]] = {name: [] for name in (OURS, *peers)}
        for number in range(options.rounds):
            for name in runs if number % 2 == 0 else reversed(runs):
                with (
                    serving(options.cachalot, options.model, threads)
                    if name == OURS
                    else peer(peers[name], options.model, threads)
                ) as server:
                    runs[name].append(measure(server, f"{number}"))
                loads.append(os.getloadavg()[0])
                shown = ", ".join(f"{key} {value:.0f}" for key, value in runs[name][-1].items())
                print(f"threads {threads} round {number + 1} {name}: {shown}", file=sys.stderr)
        lines += [f"## {threads} thread{'s' if threads != 1 else ''}", ""]
        lines += ["| | " + " | ".join(runs) + " | ours / best peer |", "|" + "---|" * (len(runs) + 2)]
        for key in runs[OURS][0]:
            medians = {name: statistics.median(run[key] for run in found) for name, found in runs.items()}
            others = [medians[name] for name in peers]
            best = (max if key.endswith("/s") else min)(others) if others and "of a" not in key else None
            cells = [spread([run[key] for run in found]) for found in runs.values()]
            ratio = "" if best is None else f"{medians[OURS] / best:.2f}"
            lines.append(f"| {key} | " + " | ".join(cells) + f" | {ratio} |")
        lines.append("")
    text = "\n".join(
        [
            f"# Eight chats at once over HTTP: {datetime.date.today()}",
            "",
            facts(options.cachalot, options.model, loads),
            "",
            f"{CHATS} chats at the same moment, streamed, temperature 0, at most {TOKENS} tokens each; {options.rounds} "
            "alternating rounds, each with every server started anew; median (least to greatest). Times: below 1 is in our "
            "favour.",
            "",
            *lines,
            "Peers: " + "; ".join(f"{name}: `{' '.join(['llama-server', *command.split()[1:]])}`" for name, command in peers.items()),
            "",
        ]
    )
    print(text)
    if not options.no_record:
        kind = "-".join(filter(None, ["together", options.name]))
        print(f"wrote {write_record(kind, text).name}", file=sys.stderr)


if __name__ == "__main__":
    main()
