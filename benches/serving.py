"""A server to measure, the machine it runs on, and a stream that is timed. Python's standard library only."""

import datetime
import http.client
import json
import os
import pathlib
import platform
import re
import signal
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

RECORD = pathlib.Path(__file__).parent / "record"
READY_SECONDS_MAX = 120


@dataclass
class Stream:
    """One answer: seconds from the request to its first token and to its last, and what its usage says."""

    first_s: float
    last_s: float
    text: str
    finish: str
    usage: dict

    @property
    def between_tokens_ms(self) -> float:
        """From token to token, on the mean of this answer."""
        return (self.last_s - self.first_s) / (self.usage["completion_tokens"] - 1) * 1000


class Server:
    """A server of one model, on this machine, of which each stream is asked for with `always` as well."""

    def __init__(self, port: int, always: dict | None = None) -> None:
        self.port = port
        self.always = always or {}
        self.model = json.loads(self.get("/v1/models"))["data"][0]["id"]

    def get(self, path: str) -> str:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=600)
        try:
            connection.request("GET", path)
            return connection.getresponse().read().decode()
        finally:
            connection.close()

    def stream(self, **asked: object) -> Stream:
        """Asks for an answer and times it, over a connection that is open already."""
        body = {"model": self.model, "stream": True, "stream_options": {"include_usage": True}} | self.always | asked
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=600)
        connection.connect()
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        text, finish, usage, times = "", "", {}, []
        try:
            began = time.perf_counter()
            connection.request("POST", "/v1/chat/completions", json.dumps(body), {"content-type": "application/json"})
            response = connection.getresponse()
            if response.status != 200:
                raise SystemExit(f"{response.status}: {response.read().decode()}")
            for line in response:
                if not line.startswith(b"data: {"):
                    continue
                chunk = json.loads(line[6:])
                usage = chunk.get("usage") or usage
                for choice in chunk["choices"]:
                    finish = choice.get("finish_reason") or finish
                    if choice["delta"].get("content"):
                        times.append(time.perf_counter() - began)
                        text += choice["delta"]["content"]
        finally:
            connection.close()
        return Stream(times[0], times[-1], text, finish, usage)


@contextmanager
def serving(binary: str, model: str, threads: int | None = None) -> Iterator[Server]:
    """A server in an empty home, which ends with this; with a thread for each core if not told otherwise."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    with tempfile.TemporaryDirectory() as home:
        environment = os.environ | {"CACHALOT_HOME": home, "CACHALOT_PACK_CACHE_GIB": "0"}
        command = [binary, "up", "--listen", f"127.0.0.1:{port}", "--model", model]
        command += [] if threads is None else ["--threads", str(threads)]
        with (pathlib.Path(home) / "log").open("wb") as log:
            process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            wait_until_ready(port, process)
            yield Server(port)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def wait_until_ready(port: int, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + READY_SECONDS_MAX
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise SystemExit(f"the server ended with {process.returncode}")
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            connection.request("GET", "/readyz")
            if connection.getresponse().status == 200:
                return
        except OSError:
            pass
        finally:
            connection.close()
        time.sleep(0.1)
    raise SystemExit("the server was not ready in time")


def processor() -> Callable[[str], str]:
    """What the kernel says of the processor, by key."""
    text = pathlib.Path("/proc/cpuinfo").read_text()
    return lambda key: (re.search(rf"^{key}\s*:\s*(.+)$", text, re.MULTILINE) or [None, "unknown"])[1]


def facts(binary: str, model: str, loads: list[float]) -> str:
    """The machine, the file and the program, in a paragraph."""
    value = processor()
    memory = int(re.search(r"MemTotal:\s*(\d+)", pathlib.Path("/proc/meminfo").read_text())[1]) / 2**20
    version = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=RECORD, check=False
    ).stdout.strip()
    virtual = ", virtual machine" if "hypervisor" in value("flags").split() else ""
    return (
        f"{value('model name')} (family/model/stepping {value('cpu family')}/{value('model')}/{value('stepping')}), "
        f"{os.cpu_count()} cores, {memory:.1f} GiB{virtual}, {platform.system()} "
        f"{'.'.join(platform.release().split('.')[:2])}. Load average {min(loads):.1f} to {max(loads):.1f}. "
        f"{pathlib.Path(model).name}; "
        f"{version}, release, at commit {commit}."
    )


def machine_name() -> str:
    """For the name of a record."""
    value = processor()
    words = f"{value('model name')} {value('cpu family')} {value('model')} {value('stepping')}"
    return f"{re.sub(r'[^a-z0-9]+', '-', words.lower()).strip('-')}-{os.cpu_count()}-cores"


def spread(values: list[float], digits: int = 1) -> str:
    """The median, and from the least to the greatest."""
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def write_record(kind: str, text: str) -> pathlib.Path:
    path = RECORD / f"{datetime.date.today()}-{machine_name()}-{kind}.md"
    path.write_text(text)
    return path
