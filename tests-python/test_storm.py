"""A thousand requests, opened and dropped at every stage: afterwards nothing is held, nothing runs, nothing is lost.

CACHALOT_SEED repeats a run's choices.
"""

import asyncio
import csv
import io
import json
import os
import pathlib
import random
import re
import socket
import struct
import time
from collections import Counter
from decimal import Decimal

import openai
from conftest import People, Server, running_server

SEED = int(os.environ.get("CACHALOT_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
REQUESTS = 1000
# More than the engine has room for, so that some are dropped in the queue.
AT_ONCE = 48
GRANT = Decimal("1000")
# Dear enough that every token counts in the balance. A fast machine is done in the ten seconds in which one address may
# open a thousand connections.
SETTINGS = """
[connections]
new_per_address_max = 2000
[[price]]
hit = "1"
miss = "2"
output = "3"
"""
CPU_SECONDS_MAX = 0.05
FILES_MORE_MAX = 32

# Where a request is dropped: in its head, in its body, with nothing read, a moment later (in the queue or the prefill),
# with the head of the response, in the middle of the stream, and when all is read.
STAGES = ["head", "body", "sent", "waited", "answered", "streamed", "read"]
ENDPOINTS = ["/v1/chat/completions", "/v1/completions", "/anthropic/v1/messages", "/v1/responses"]
WORDS = "whale krill ocean dive deep sound song north south ice wave storm ship rope keel mast".split()


def body(endpoint: str, model: str, chance: random.Random) -> dict:
    """A request; some have long prompts, a few want several answers, most of them streams."""
    words = chance.choices(WORDS, k=100 if chance.random() < 0.1 else 6)
    text = f"{chance.randrange(1 << 60)} {' '.join(words)}"
    asked: dict = {"model": model, "stream": chance.random() < 0.8}
    tokens = chance.choice([1, 4, 16])
    messages = [{"role": "user", "content": text}]
    if endpoint == "/v1/completions":
        return asked | {"prompt": text, "max_tokens": tokens}
    if endpoint == "/v1/responses":
        return asked | {"input": text, "max_output_tokens": tokens}
    asked |= {"messages": messages, "max_tokens": tokens}
    if endpoint == "/v1/chat/completions" and chance.random() < 0.2:
        asked["n"] = 3
    return asked


def reset(writer: asyncio.StreamWriter) -> None:
    """The connection ends with a reset instead of in order."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


class Storm:
    """Sends requests of one key, and counts what became of them."""

    def __init__(self, server: Server, key: str, model: str) -> None:
        self.port = int(server.url.rpartition(":")[2])
        self.key = key
        self.model = model
        self.statuses: Counter[int] = Counter()
        self.dropped: Counter[str] = Counter()
        self.ended = 0.0

    async def run(self) -> None:
        room = asyncio.Semaphore(AT_ONCE)

        async def one(number: int) -> None:
            async with room:
                await self.request(random.Random(SEED * REQUESTS + number))

        async with asyncio.TaskGroup() as group:
            for number in range(REQUESTS):
                group.create_task(one(number))
        self.ended = time.monotonic()

    async def request(self, chance: random.Random) -> None:
        stage = chance.choice(STAGES)
        endpoint = chance.choice(ENDPOINTS)
        content = json.dumps(body(endpoint, self.model, chance)).encode()
        head = (
            f"POST {endpoint} HTTP/1.1\r\nhost: 127.0.0.1:{self.port}\r\nauthorization: Bearer {self.key}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n"
        ).encode()
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            sent = {"head": head[: len(head) // 2], "body": head + content[: len(content) // 2]}
            writer.write(sent.get(stage, head + content))
            await writer.drain()
            if stage == "waited":
                await asyncio.sleep(chance.uniform(0.0, 0.5))
            if stage in ("answered", "streamed", "read"):
                await self.read(reader, stage, chance)
            self.dropped[stage] += 1
        finally:
            # The other side may have closed it.
            if not writer.is_closing() and chance.random() < 0.5:
                reset(writer)
            writer.close()

    async def read(self, reader: asyncio.StreamReader, stage: str, chance: random.Random) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.statuses[int(head.split()[1])] += 1
        # As clients do, also where the request is dropped.
        if wait := re.search(rb"retry-after: (\d+)", head):
            await asyncio.sleep(int(wait[1]))
        length = re.search(rb"content-length: (\d+)", head)
        if stage == "streamed" and not length:
            end = b""
            for _ in range(chance.randrange(1, 20)):
                piece = await reader.read(300)
                end = (end + piece)[-5:]
                # It may have come to its end before.
                if not piece or end == b"0\r\n\r\n":
                    return
        if stage == "read":
            if length:
                await reader.readexactly(int(length[1]))
            else:
                await reader.readuntil(b"\r\n0\r\n\r\n")


def cpu_seconds(server: Server) -> float:
    """What the server's process has used so far."""
    fields = pathlib.Path(f"/proc/{server.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def open_files(server: Server) -> int:
    return len(os.listdir(f"/proc/{server.process.pid}/fd"))


def number(server: Server, name: str) -> float:
    """A number of the HTTP side from `/metrics`."""
    return float(re.search(rf"^cachalot_{name} (\S+)$", server.get("/metrics"), re.MULTILINE)[1])


def check_idle(server: Server) -> None:
    """Nothing waits, nothing runs, no block has an owner, nobody is connected but who asks, and the CPU rests."""
    for gauge in ("num_requests_running", "num_requests_waiting", "kv_cache_usage_perc"):
        assert server.gauge(gauge) == 0, f"{gauge} is {server.gauge(gauge)}"
    assert server.gauge("kv_blocks_free") == server.gauge("kv_blocks")
    assert 0 < server.gauge("kv_blocks_cached") <= server.gauge("kv_blocks")
    # The one that asks for it.
    assert number(server, "http_requests_in_flight") == 1
    assert number(server, "http_connections") == 1
    before = cpu_seconds(server)
    time.sleep(1)
    used = cpu_seconds(server) - before
    assert used <= CPU_SECONDS_MAX, f"the server used {used:.2f} s of CPU in a second with nothing to do"


def check_money(people: People, user: str, key: str) -> int:
    """Nothing is held, and what is missing was billed: row by row, in the balance, and in the key. How many rows."""
    balance = people.ask("GET", f"/api/admin/users/{user}/balance")
    assert Decimal(balance["held"]) == 0, balance
    rows = list(csv.DictReader(io.StringIO(people.text("/api/admin/usage.csv"))))
    for row in rows:
        tokens = [int(row[name]) for name in ("hit_tokens", "miss_tokens", "output_tokens")]
        price = sum(price * count for price, count in zip((1, 2, 3), tokens, strict=True))
        assert Decimal(row["cost"]) == Decimal(price) / 1_000_000, row
    billed = sum(Decimal(row["cost"]) for row in rows)
    assert Decimal(balance["available"]) == GRANT - billed, (balance, billed)
    spent = next(view["spent"] for view in people.ask("GET", "/api/keys")["keys"] if view["id"] == key)
    assert Decimal(spent) == billed
    return len(rows)


def test_a_thousand_requests_that_are_dropped_leave_nothing_behind(
    binary: pathlib.Path, model_file: pathlib.Path
) -> None:
    print(f"CACHALOT_SEED={SEED}")
    with running_server(binary, model_file, SETTINGS) as server:
        people = People(server)
        user = people.ask("GET", "/api/session")["user"]["id"]
        made = people.ask("POST", "/api/keys", {"name": "storm"})
        people.ask("POST", f"/api/admin/users/{user}/credit", {"kind": "grant", "amount": str(GRANT)})
        model = json.loads(server.get("/v1/models"))["data"][0]["id"]
        files = open_files(server)
        storm = Storm(server, made["secret"], model)
        began = time.monotonic()
        asyncio.run(storm.run())
        busy = cpu_seconds(server)
        time.sleep(max(0.0, storm.ended + 1 - time.monotonic()))
        settled = cpu_seconds(server) - busy
        check_idle(server)
        # The database opens some more when it is busy.
        assert open_files(server) <= files + FILES_MORE_MAX, "connections or files were left open"
        rows = check_money(people, user, made["key"]["id"])
        taken = round(storm.ended - began, 1)
        print(f"{REQUESTS} in {taken} s, then {settled:.2f} s of CPU: {dict(storm.dropped)}, statuses {dict(storm.statuses)}, {rows} rows")
        assert storm.dropped.total() == REQUESTS
        assert min(storm.dropped[stage] for stage in STAGES) > REQUESTS // 14, "the stages are not even"
        # Busy is an answer, but mostly there is one of the model.
        assert storm.statuses.keys() <= {200, 429, 503, 529} and storm.statuses[200] > 200, storm.statuses
        # What was answered was begun, and has a row.
        assert rows >= storm.statuses[200]
        log = server.log.read_text()
        assert "panicked" not in log and "could not be freed" not in log, log[-5000:]
        # It goes on as if nothing had been.
        client = openai.OpenAI(base_url=f"{server.url}/v1", api_key=made["secret"], max_retries=0)
        whole = client.chat.completions.create(
            model=model, messages=[{"role": "user", "content": "Say hello."}], max_tokens=4
        )
        assert whole.usage.completion_tokens >= 1
        client.close()
        check_money(people, user, made["key"]["id"])
