"""A server that is killed and started again, for the tests of what it keeps."""

import http.client
import json
import os
import pathlib
import re
import signal
import sqlite3
import subprocess
import time

import pytest
from conftest import free_port

READY_SECONDS_MAX = 120
PASSWORD = "krill at four hundred fathoms"


class Gone(Exception):
    """The server died before it answered."""


class Program:
    """A server that is killed and started again in the same home."""

    def __init__(self, binary: pathlib.Path, model: pathlib.Path, home: pathlib.Path, settings: str = "") -> None:
        self.home = home
        self.port = free_port()
        self.log = home / "log"
        self.environment = os.environ | {"CACHALOT_HOME": str(home / "home"), "CACHALOT_PACK_CACHE_GIB": "0"}
        if settings:
            (home / "config.toml").write_text(settings)
            self.environment["CACHALOT_CONFIG"] = str(home / "config.toml")
        self.command = [str(binary), "up", "--listen", f"127.0.0.1:{self.port}", "--model", str(model)]
        self.process: subprocess.Popen | None = None

    def start(self) -> None:
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                self.command, env=self.environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        deadline = time.monotonic() + READY_SECONDS_MAX
        while time.monotonic() < deadline:
            assert self.process.poll() is None, f"the server ended by itself:\n{self.log.read_text()}"
            try:
                if self.ask("GET", "/readyz")[0] == 200:
                    return
            except Gone:
                pass
            time.sleep(0.02)
        pytest.fail(f"the server was not ready in {READY_SECONDS_MAX} s:\n{self.log.read_text()}")

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def ask(self, method: str, path: str, body: object = None, cookie: str = "") -> tuple[int, dict, str]:
        """Status, body and the cookie that was set, if any."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        headers = {"content-type": "application/json"} | ({"cookie": cookie} if cookie else {})
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            text = response.read()
            given = (response.getheader("set-cookie") or "").split(";")[0]
            return response.status, json.loads(text) if text[:1] in (b"{", b"[") else {}, given
        except (OSError, http.client.HTTPException) as error:
            raise Gone from error
        finally:
            connection.close()

    def text(self, path: str, cookie: str) -> str:
        """A page that is no JSON."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request("GET", path, None, {"cookie": cookie})
            response = connection.getresponse()
            text = response.read().decode()
            assert response.status == 200, (response.status, text)
            return text
        except (OSError, http.client.HTTPException) as error:
            raise Gone from error
        finally:
            connection.close()

    def setup_token(self) -> str:
        found = re.search(r"/setup#(\w+)", self.log.read_text())
        assert found, self.log.read_text()
        return found[1]

    def check_database(self) -> None:
        """The file as the dead process left it is whole."""
        with sqlite3.connect(self.home / "home" / "cachalot.db") as database:
            assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            assert database.execute("PRAGMA foreign_key_check").fetchall() == []
