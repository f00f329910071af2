"""`cachalot chat` as a person uses it: the real program with a real model on a terminal of its own."""

import fcntl
import http.server
import json
import os
import pathlib
import pty
import re
import select
import signal
import struct
import termios
import threading
import time
from collections.abc import Callable, Iterator

import pytest

WAIT_SECONDS_MAX = 180
PROMPT = "> "
CTRL_C, CTRL_D, UP = "\x03", "\x04", "\x1b[A"
# What the line editor sends to move and colour.
CONTROLS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")


class Terminal:
    """A program on a pseudo-terminal. Every wait has an end."""

    def __init__(self, arguments: list[str], environment: dict[str, str]):
        self.process, self.master = pty.fork()
        if self.process == 0:
            os.execve(arguments[0], arguments, environment)
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 200, 0, 0))
        self.raw = b""
        # Up to where the screen was looked at.
        self.seen = 0
        self.status = None

    def text(self) -> str:
        """All that came after what was looked at, without the editor's controls."""
        return CONTROLS.sub("", self.raw[self.seen :].decode(errors="replace"))

    def read(self, seconds: float) -> bool:
        """Takes what the program prints within a time; false if nothing came or it has ended."""
        if not select.select([self.master], [], [], max(seconds, 0))[0]:
            return False
        try:
            piece = os.read(self.master, 65536)
        except OSError:
            # How Linux says that nobody has the other side open.
            piece = b""
        self.raw += piece
        return bool(piece)

    def expect(self, pattern: str) -> str:
        """Waits until the pattern is there, and gives the text up to its end, which then counts as looked at."""
        deadline = time.monotonic() + WAIT_SECONDS_MAX
        while not (found := re.search(pattern, self.text(), re.DOTALL)):
            left = deadline - time.monotonic()
            if left <= 0 or not self.read(left):
                pytest.fail(f"{pattern!r} did not come; there is {self.text()!r}", pytrace=False)
        before = self.text()[: found.end()]
        self.seen = len(self.raw)
        return before

    def send(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def enter(self, line: str) -> None:
        """Types a line, once the editor is waiting for it."""
        self.send(line + "\r")

    def ended(self) -> int:
        """Waits for the end and gives the exit status."""
        deadline = time.monotonic() + WAIT_SECONDS_MAX
        while self.read(deadline - time.monotonic()):
            pass
        while self.status is None and time.monotonic() < deadline:
            process, status = os.waitpid(self.process, os.WNOHANG)
            if process:
                self.status = os.waitstatus_to_exitcode(status)
        assert self.status is not None, "the program did not end"
        return self.status

    def close(self) -> None:
        if self.status is None:
            os.kill(self.process, signal.SIGKILL)
            os.waitpid(self.process, 0)
        os.close(self.master)


@pytest.fixture
def chat(binary: pathlib.Path, model_file: pathlib.Path, tmp_path: pathlib.Path) -> Iterator[Callable[..., Terminal]]:
    """Starts chats with the test model and a home of their own, and waits for the first prompt."""
    started = []

    def start(*options: str, model: pathlib.Path = model_file) -> Terminal:
        environment = os.environ | {
            "CACHALOT_HOME": str(tmp_path / "home"),
            "CACHALOT_PACK_CACHE_GIB": "0",
            "TERM": "xterm",
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
        }
        terminal = Terminal([str(binary), "chat", str(model), *options], environment)
        started.append(terminal)
        terminal.expect(r"/help lists what you can do, Ctrl-D leaves\.\n.*> ")
        return terminal

    yield start
    for terminal in started:
        terminal.close()


GREEDY = ("--temperature", "0", "--max-tokens", "24")


def test_a_conversation_is_asked_answered_and_saved(chat, tmp_path: pathlib.Path) -> None:
    terminal = chat(*GREEDY)
    terminal.enter("What is the capital of France?")
    assert "Paris" in terminal.expect(r"Paris.*\n> ")
    saved = tmp_path / "talk.json"
    terminal.enter(f"/save {saved}")
    terminal.expect(r"\(saved to .*talk\.json\)\n> ")
    messages = json.loads(saved.read_text())["messages"]
    assert [message["role"] for message in messages] == ["user", "assistant"]
    assert "Paris" in messages[1]["content"]
    terminal.send(CTRL_D)
    assert terminal.ended() == 0


def test_orders_are_obeyed(chat) -> None:
    terminal = chat(*GREEDY)
    terminal.enter("/help")
    terminal.expect(r"/save FILE .*/exit .*\n> ")
    terminal.enter("/system")
    terminal.expect(r"\(no instructions\)\n> ")
    terminal.enter("/system Answer in one word.")
    terminal.expect(r"\(instructions set\)\n> ")
    terminal.enter("/system")
    terminal.expect(r"\nAnswer in one word\.\n> ")
    terminal.enter("/model")
    terminal.expect(r"\* SmolLM2-135M-Instruct.*\n.*smollm2-135m \(not here yet.*\n> ")
    terminal.enter("/model no-such-model")
    terminal.expect(r"error: .*neither an installed model.*\n> ")
    terminal.enter("/nonsense")
    terminal.expect(r"there is no /nonsense.*\n> ")
    terminal.enter("/exit")
    assert terminal.ended() == 0


def test_an_answer_streams_and_ctrl_c_gives_the_prompt_back(chat) -> None:
    terminal = chat("--temperature", "0", "--system", "You tell very long stories.")
    terminal.enter("Tell me a long story about a whale, in many chapters.")
    # A few words are there, and no prompt: the answer is coming.
    assert not terminal.expect(r"chapters\.\n(\S+\s+){5}").endswith("\n> ")
    terminal.send(CTRL_C)
    terminal.expect(r"\[stopped\]\n\n> ")
    terminal.enter("/help")
    terminal.expect(r"/exit .*\n> ")
    terminal.send(CTRL_D)
    assert terminal.ended() == 0


def test_lines_are_remembered_in_the_next_session_too(chat) -> None:
    terminal = chat()
    terminal.enter("/system Be kind.")
    terminal.expect(r"\(instructions set\)\n> ")
    terminal.send(UP)
    terminal.expect(r"/system Be kind\.")
    terminal.send(CTRL_C)
    terminal.expect(r"\(Ctrl-C again or Ctrl-D leaves\)\n> ")
    terminal.send(CTRL_C)
    assert terminal.ended() == 0
    terminal = chat()
    terminal.send(UP)
    terminal.expect(r"/system Be kind\.")
    terminal.send("\r")
    terminal.expect(r"\(instructions set\)\n> ")
    terminal.send(CTRL_D)
    assert terminal.ended() == 0


@pytest.fixture
def stalling() -> Iterator[str]:
    """The URL of a model of which some bytes come, and then nothing."""
    over = threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "100000000")
            self.end_headers()
            self.wfile.write(b"x" * 1_000_000)
            over.wait(WAIT_SECONDS_MAX)

        def log_message(self, *_arguments) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/slow.gguf"
    over.set()
    server.shutdown()
    thread.join()
    server.server_close()


def test_ctrl_c_in_a_pull_keeps_the_conversation(chat, stalling: str, tmp_path: pathlib.Path) -> None:
    terminal = chat(*GREEDY)
    terminal.enter("What is the capital of France?")
    terminal.expect(r"Paris.*\n> ")
    terminal.enter(f"/model {stalling}")
    terminal.expect(r"Downloading")
    terminal.send(CTRL_C)
    terminal.expect(r"\(still talking with SmolLM2-135M-Instruct.*\)\n> ")
    saved = tmp_path / "talk.json"
    terminal.enter(f"/save {saved}")
    rest = terminal.expect(r"\(saved to .*talk\.json\)\n> ")
    assert "Downloading" not in rest, "the pull must not draw over the prompt any more"
    assert len(json.loads(saved.read_text())["messages"]) == 2
    terminal.send(CTRL_D)
    assert terminal.ended() == 0


def test_a_hostile_template_does_not_command_the_terminal(chat, model_file, tmp_path: pathlib.Path) -> None:
    # The text of an error that the file's template raises, in the place of the file's template.
    evil = b"{{ raise_exception('\x1b]0;owned\x07') }}"
    weights = model_file.read_bytes()
    key = b"tokenizer.chat_template"
    at = weights.index(key) + len(key) + 4
    length = int.from_bytes(weights[at : at + 8], "little")
    assert length >= len(evil)
    hostile = tmp_path / "hostile.gguf"
    hostile.write_bytes(weights[: at + 8] + evil.ljust(length) + weights[at + 8 + length :])
    terminal = chat(model=hostile)
    terminal.enter("Hi")
    terminal.expect(r"error: .*\\u\{1b\}\]0;owned\\u\{7\}.*\n> ")
    assert b"\x1b]0" not in terminal.raw
    terminal.send(CTRL_D)
    assert terminal.ended() == 0
