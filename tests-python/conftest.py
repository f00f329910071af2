"""A real `cachalot up` for the tests: the binary of CACHALOT_BIN with the model of CACHALOT_TEST_MODEL."""

import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import openai
import pytest

READY_SECONDS_MAX = 180
STOP_SECONDS_MAX = 60


def needed(name: str, what: str, how: str) -> pathlib.Path:
    """The file that an environment variable names. It has to be there: a test that can't run has not passed."""
    given = os.environ.get(name)
    if not given:
        pytest.fail(f"{name} must be the path of {what}. {how}", pytrace=False)
    path = pathlib.Path(given)
    if not path.is_file():
        pytest.fail(f"{name} is {given}, which is not a file; it must be the path of {what}. {how}", pytrace=False)
    return path.absolute()


def free_port() -> int:
    """A loopback port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@dataclass
class Server:
    """A running server."""

    url: str
    process: subprocess.Popen
    log: pathlib.Path

    def get(self, path: str) -> str:
        """The body of a page."""
        with urllib.request.urlopen(self.url + path) as response:
            return response.read().decode()

    def gauge(self, name: str) -> float:
        """A number of the engine from `/metrics`."""
        found = re.findall(rf"^cachalot_{name}{{[^}}]*}} (\S+)$", self.get("/metrics"), re.MULTILINE)
        assert len(found) == 1, f"/metrics has {len(found)} of cachalot_{name}, with one model it should have 1"
        return float(found[0])

    def wait_until_ready(self) -> None:
        """Returns when `/readyz` says so; fails when the program ends before."""
        deadline = time.monotonic() + READY_SECONDS_MAX
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                pytest.fail(f"the server ended with {self.process.returncode}:\n{self.log.read_text()}", pytrace=False)
            try:
                self.get("/readyz")
                return
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.1)
        pytest.fail(f"the server was not ready in {READY_SECONDS_MAX} s:\n{self.log.read_text()}", pytrace=False)


@pytest.fixture(scope="session")
def binary() -> pathlib.Path:
    """The program."""
    return needed("CACHALOT_BIN", "the cachalot binary", "`make e2e` builds it and sets this.")


@pytest.fixture(scope="session")
def model_file() -> pathlib.Path:
    """The weights."""
    how = "`make e2e` fetches it; by hand: cachalot pull smollm2-135m; cachalot show smollm2-135m --path"
    return needed("CACHALOT_TEST_MODEL", "SmolLM2-135M-Instruct.Q4_1.gguf", how)


@contextmanager
def running_server(binary: pathlib.Path, model: pathlib.Path, settings: str = "") -> Iterator[Server]:
    """A server of one model, with these settings (TOML). It must end in order when asked to."""
    with tempfile.TemporaryDirectory() as home:
        log = pathlib.Path(home) / "log"
        port = free_port()
        command = [str(binary), "up", "--listen", f"127.0.0.1:{port}", "--model", str(model)]
        environment = os.environ | {"CACHALOT_HOME": str(pathlib.Path(home) / "home"), "CACHALOT_PACK_CACHE_GIB": "0"}
        if settings:
            (pathlib.Path(home) / "config.toml").write_text(settings)
            environment["CACHALOT_CONFIG"] = str(pathlib.Path(home) / "config.toml")
        with log.open("wb") as output:
            process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        running = Server(f"http://127.0.0.1:{port}", process, log)
        try:
            running.wait_until_ready()
            yield running
            process.send_signal(signal.SIGTERM)
            status = process.wait(STOP_SECONDS_MAX)
            assert status == 0, f"after SIGTERM the server ended with {status}:\n{log.read_text()}"
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


@pytest.fixture(scope="session")
def server(binary: pathlib.Path, model_file: pathlib.Path) -> Iterator[Server]:
    """One server for all tests."""
    with running_server(binary, model_file) as running:
        yield running


@pytest.fixture(scope="session")
def client(server: Server) -> openai.OpenAI:
    """The official client; it must not hide a failure by trying again."""
    # A proxy of the environment must not get between.
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1"
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key="unused", max_retries=0, timeout=600)


@pytest.fixture(scope="session")
def model(client: openai.OpenAI) -> str:
    """The name by which the API knows the model."""
    names = [entry.id for entry in client.models.list()]
    assert len(names) == 1, f"a server of one model should list one, it lists {names}"
    return names[0]


class People:
    """The first administrator of a server, who gives out keys."""

    def __init__(self, server: "Server") -> None:
        self.server = server
        self.cookie = ""
        found = re.search(r"/setup#(\w+)", server.log.read_text())
        assert found, server.log.read_text()
        self.ask("POST", "/api/setup", {"token": found[1], "name": "Ahab", "password": "the whale sings at dusk"})

    def ask(self, method: str, path: str, body: object = None) -> dict:
        """What an endpoint of the web app answers."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"content-type": "application/json", "cookie": self.cookie}
        request = urllib.request.Request(self.server.url + path, data, headers, method=method)
        with urllib.request.urlopen(request) as response:
            given = (response.headers.get("set-cookie") or "").split(";")[0]
            self.cookie = given or self.cookie
            text = response.read()
        return json.loads(text) if text else {}

    def text(self, path: str) -> str:
        """A page that is no JSON."""
        request = urllib.request.Request(self.server.url + path, headers={"cookie": self.cookie})
        with urllib.request.urlopen(request) as response:
            return response.read().decode()

    def key(self, **scope: object) -> str:
        """A new key."""
        return self.ask("POST", "/api/keys", {"name": "tests"} | scope)["secret"]


@pytest.fixture(scope="session")
def people(server: Server) -> People:
    """Who may make keys for the server of all tests."""
    return People(server)


@pytest.fixture(scope="session")
def thinking_server(binary: pathlib.Path) -> Iterator[Server]:
    """A server of a model that thinks; see thinking.py."""
    how = "`make e2e` makes it; by hand: python tests-python/thinking.py SMOLLM2.gguf thinker.gguf"
    with running_server(binary, needed("CACHALOT_TEST_THINKER", "thinker.gguf", how)) as running:
        yield running


@pytest.fixture(scope="session")
def thinker(thinking_server: Server) -> openai.OpenAI:
    """The official client, of the model that thinks."""
    return openai.OpenAI(base_url=f"{thinking_server.url}/v1", api_key="unused", max_retries=0, timeout=600)
