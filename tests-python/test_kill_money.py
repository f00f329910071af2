"""`kill -9` at random moments while people spend: what they were given, what they spent and what they have always add up.

CACHALOT_MONEY_KILLS says how often (a few in `make test`, 100 in `make soak`), CACHALOT_SEED repeats a run's choices.
"""

import csv
import http.client
import io
import json
import os
import pathlib
import random
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal

import pytest
from program import PASSWORD, Gone, Program

KILLS = int(os.environ.get("CACHALOT_MONEY_KILLS", "3"))
SEED = int(os.environ.get("CACHALOT_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
PEOPLE = 4
WORKERS_EACH = 3
ROUND_SECONDS_MAX = 60
PRICES = {"hit": Decimal("10"), "miss": Decimal("50.125"), "output": Decimal("200")}
# People's conversations cost less than their programs.
SESSION_PRICES = {"hit": Decimal("1"), "miss": Decimal("2"), "output": Decimal("3")}
SETTINGS = "".join(
    f'[[price]]\nclass = "{name}"\nhit = "{prices["hit"]}"\nmiss = "{prices["miss"]}"\noutput = "{prices["output"]}"\n'
    for name, prices in (("key", PRICES), ("session", SESSION_PRICES))
)
# For a dozen requests, so that people run out of it at times.
GRANT = Decimal("0.08")
# The second key of each may spend no more than this, which it comes near to towards the end.
SPEND_MAX = Decimal("0.02") * max(KILLS, 3)
# How many credits a look at a balance shows.
CREDITS_SHOWN = 50


@dataclass
class Key:
    """A key and what was said to it: (tokens of the prompt, of the answer) of each answer that came to its end."""

    id: str
    secret: str
    limited: bool
    acknowledged: Counter[tuple[int, int]] = field(default_factory=Counter)


@dataclass
class Person:
    """Somebody who pays."""

    name: str
    id: str
    cookie: str
    keys: list[Key]
    lock: threading.Lock = field(default_factory=threading.Lock)
    given: Decimal = Decimal(0)
    # Notes of grants that were asked for and not answered.
    uncertain: dict[str, Decimal] = field(default_factory=dict)


class Worker:
    """Spends what one person has, until the server dies."""

    def __init__(self, program: Program, person: Person, model: str, number: int) -> None:
        self.program = program
        self.person = person
        self.model = model
        self.random = random.Random(SEED * 1000 + number)
        self.statuses: Counter[int] = Counter()
        self.cancelled = 0
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            while True:
                self.step()
        except (Gone, OSError, http.client.HTTPException):
            pass
        except BaseException as error:  # noqa: BLE001 - told by the main thread
            self.failure = error

    def step(self) -> None:
        if self.random.random() < 0.12:
            self.chat()
            return
        key = self.random.choice(self.person.keys)
        asked: dict = {
            "model": self.model,
            "messages": [{"role": "user", "content": f"Say {self.random.randrange(4)} words."}],
            "temperature": 1,
            "stream": self.random.random() < 0.6,
        }
        if self.random.random() < 0.85:
            asked["max_tokens"] = self.random.randrange(1, 40)
        if self.random.random() < 0.2:
            asked["n"] = 2
        if asked["stream"]:
            asked["stream_options"] = {"include_usage": True}
        connection = http.client.HTTPConnection("127.0.0.1", self.program.port, timeout=60)
        headers = {"content-type": "application/json", "authorization": f"Bearer {key.secret}"}
        try:
            connection.request("POST", "/v1/chat/completions", json.dumps(asked), headers)
            if self.random.random() < 0.1:
                self.cancelled += 1
                return
            response = connection.getresponse()
            self.statuses[response.status] += 1
            self.take(response, asked["stream"], key)
        finally:
            connection.close()

    def take(self, response: http.client.HTTPResponse, streamed: bool, key: Key) -> None:
        if response.status != 200:
            text = response.read()
            # Out of credit, and nothing else; a key that is spent says so too.
            assert response.status in (402, 429, 503), (response.status, text)
            time.sleep(0.1)
            return
        if not streamed:
            self.acknowledge(key, json.loads(response.read())["usage"])
            return
        # Some go away in the middle.
        lines_max = self.random.randrange(2, 30) if self.random.random() < 0.3 else None
        lines = 0
        while line := response.readline():
            lines += 1
            if lines_max and lines > lines_max:
                self.cancelled += 1
                return
            if line.startswith(b"data: {"):
                usage = json.loads(line[6:]).get("usage")
                if usage:
                    self.acknowledge(key, usage)

    def acknowledge(self, key: Key, usage: dict) -> None:
        with self.person.lock:
            key.acknowledged[usage["prompt_tokens"], usage["completion_tokens"]] += 1

    def chat(self) -> None:
        """A message in a conversation, which is cut short after a while."""
        cookie = self.person.cookie
        status, made, _ = self.program.ask("POST", "/api/conversations", {}, cookie)
        assert status == 201, made
        path = f"/api/conversations/{made['id']}/messages"
        status, turn, _ = self.program.ask("POST", path, {"content": "Say hello."}, cookie)
        self.statuses[status] += 1
        assert status in (201, 402), (status, turn)
        if status == 201:
            time.sleep(self.random.uniform(0, 0.5))
            self.program.ask("POST", f"{path}/{turn['assistant']['id']}/stop", {}, cookie)


class Granter:
    """The operator, who gives credit to those who have none, and looks on meanwhile."""

    def __init__(self, program: Program, people: list[Person], cookie: str, chance: random.Random) -> None:
        self.program = program
        self.people = people
        self.cookie = cookie
        self.random = chance
        self.shown: set[str] = set()
        self.serial = 0
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            while True:
                person = self.random.choice(self.people)
                self.look(person)
                if self.random.random() < 0.7:
                    self.give(person)
                time.sleep(0.02)
        except Gone:
            pass
        except BaseException as error:  # noqa: BLE001 - told by the main thread
            self.failure = error

    def look(self, person: Person) -> None:
        """Nobody ever has less than nothing, or less than is held. Rows that were shown stay."""
        balance = balance_of(self.program, person, self.cookie)
        assert min(Decimal(balance[name]) for name in ("granted", "topped_up", "held", "available")) >= 0, balance
        status, page, _ = self.program.ask("GET", "/api/admin/usage?limit=20", None, self.cookie)
        assert status == 200, page
        self.shown |= {row["id"] for row in page["rows"]}

    def give(self, person: Person) -> None:
        balance = balance_of(self.program, person, self.cookie)
        if Decimal(balance["available"]) > GRANT / 4:
            return
        self.serial += 1
        note = f"{SEED} {self.serial}"
        kind = self.random.choice(["grant", "top_up"])
        person.uncertain[note] = GRANT
        asked = {"kind": kind, "amount": str(GRANT), "note": note}
        status, answer, _ = self.program.ask("POST", f"/api/admin/users/{person.id}/credit", asked, self.cookie)
        assert status == 200, answer
        del person.uncertain[note]
        person.given += GRANT


def balance_of(program: Program, person: Person, cookie: str) -> dict:
    status, balance, _ = program.ask("GET", f"/api/admin/users/{person.id}/balance", None, cookie)
    assert status == 200, balance
    return balance


def rows_of(program: Program, person: Person, cookie: str) -> list[dict]:
    """All rows of a person, as the operator has them: page by page, and as CSV."""
    rows: list[dict] = []
    before = ""
    while True:
        path = f"/api/admin/usage?user={person.id}&limit=100{before}"
        status, page, _ = program.ask("GET", path, None, cookie)
        assert status == 200, page
        rows += page["rows"]
        if not page["next"]:
            break
        before = f"&before={page['next']}"
    text = program.text(f"/api/admin/usage.csv?user={person.id}", cookie)
    table = list(csv.DictReader(io.StringIO(text)))
    costs = [(row["key_id"] or "", row["cost"], row["outcome"]) for row in rows]
    assert [(row["key"], row["cost"], row["outcome"]) for row in table] == costs
    return rows


def check_row(row: dict) -> None:
    """It costs what its tokens cost."""
    prices = PRICES if row["class"] == "key" else SESSION_PRICES
    tokens = {name: row[f"{name}_tokens"] for name in prices}
    cost = sum(prices[name] * tokens[name] for name in prices) / 1_000_000
    assert Decimal(row["cost"]) == (cost if row["outcome"] != "failed" else 0), row
    assert row["outcome"] in ("complete", "cancelled"), row


def check_person(program: Program, person: Person, cookie: str) -> set[str]:
    """All of one person's money; the ids of their rows."""
    balance = balance_of(program, person, cookie)
    assert Decimal(balance["held"]) == 0, f"what died holds {balance}"
    notes = {credit["note"]: Decimal(credit["amount"]) for credit in balance["credits"]}
    assert len(person.uncertain) < CREDITS_SHOWN
    for note, amount in person.uncertain.items():
        # It was given whole or not at all.
        assert notes.get(note, amount) == amount
        person.given += notes.get(note, Decimal(0))
    person.uncertain.clear()
    rows = rows_of(program, person, cookie)
    for row in rows:
        check_row(row)
    spent = sum(Decimal(row["cost"]) for row in rows)
    has = Decimal(balance["granted"]) + Decimal(balance["topped_up"])
    assert has == Decimal(balance["available"]) >= 0
    assert person.given - spent == has, f"{person.name} was given {person.given}, spent {spent}, and has {has}"
    status, keys, _ = program.ask("GET", "/api/keys", None, person.cookie)
    assert status == 200, keys
    views = {view["id"]: view for view in keys["keys"]}
    for key in person.keys:
        own = [row for row in rows if row["key_id"] == key.id]
        assert Decimal(views[key.id]["spent"]) == sum(Decimal(row["cost"]) for row in own)
        assert not key.limited or Decimal(views[key.id]["spent"]) <= SPEND_MAX
        found = Counter((row["hit_tokens"] + row["miss_tokens"], row["output_tokens"]) for row in own)
        lost = key.acknowledged - found
        assert not lost, f"answered and not in usage: {lost}"
    return {row["id"] for row in rows}


def check_database(program: Program) -> int:
    """The file as the dead process left it is whole, and how many holds died with it."""
    program.check_database()
    with sqlite3.connect(program.home / "home" / "cachalot.db") as database:
        return database.execute("SELECT COUNT(*) FROM holds").fetchone()[0]


def settle_in(program: Program) -> tuple[list[Person], str]:
    """The operator, and people with two keys each."""
    asked = {"token": program.setup_token(), "name": "purser", "password": PASSWORD}
    status, answer, operator = program.ask("POST", "/api/setup", asked)
    assert status == 201, answer
    people = []
    for number in range(PEOPLE):
        name = f"sailor {number}"
        status, answer, cookie = program.ask("POST", "/api/sign-up", {"name": name, "password": PASSWORD})
        assert status == 201, answer
        keys = []
        for limited in (False, True):
            scope = {"spend_max": str(SPEND_MAX)} if limited else {}
            status, made, _ = program.ask("POST", "/api/keys", {"name": f"key {limited}"} | scope, cookie)
            assert status == 201, made
            keys.append(Key(made["key"]["id"], made["secret"], limited))
        session = program.ask("GET", "/api/session", None, cookie)[1]
        people.append(Person(name, session["user"]["id"], cookie, keys))
    return people, operator


@pytest.fixture
def program(binary: pathlib.Path, model_file: pathlib.Path, tmp_path: pathlib.Path) -> Iterator[Program]:
    """The program with prices, started with an empty home."""
    program = Program(binary, model_file, tmp_path, SETTINGS)
    program.start()
    yield program
    program.kill()


def acknowledged_of(people: list[Person]) -> int:
    return sum(key.acknowledged.total() for person in people for key in person.keys)


def run_all(runners: list[Worker | Granter], people: list[Person], program: Program, chance: random.Random) -> None:
    """All at work, until some answers have come to their end, however slow the machine is, and a moment longer."""
    enough = acknowledged_of(people) + chance.randrange(4, 16)
    threads = [threading.Thread(target=runner.run) for runner in runners]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + ROUND_SECONDS_MAX
    while acknowledged_of(people) < enough and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(chance.uniform(0.0, 1.0))
    program.kill()
    for thread in threads:
        thread.join(timeout=90)
        assert not thread.is_alive()
    for runner in runners:
        if runner.failure is not None:
            raise runner.failure


def test_money_adds_up_when_the_program_is_killed(program: Program) -> None:
    print(f"CACHALOT_SEED={SEED}")
    chance = random.Random(SEED)
    people, operator = settle_in(program)
    model = program.ask("GET", "/v1/models")[1]["data"][0]["id"]
    workers = [
        Worker(program, person, model, number * WORKERS_EACH + index)
        for number, person in enumerate(people)
        for index in range(WORKERS_EACH)
    ]
    granter = Granter(program, people, operator, chance)
    holds = 0
    for _ in range(KILLS):
        run_all([*workers, granter], people, program, chance)
        holds += check_database(program)
        program.start()
        rows = set().union(*(check_person(program, person, operator) for person in people))
        lost = granter.shown - rows
        assert not lost, f"rows that were shown and are gone: {lost}"
    acknowledged = acknowledged_of(people)
    statuses = sum((worker.statuses for worker in workers), Counter())
    cancelled = sum(worker.cancelled for worker in workers)
    given = sum(person.given for person in people)
    print(
        f"{KILLS} kills, {holds} holds died and were freed, {len(rows)} rows, {acknowledged} acknowledged, "
        f"{cancelled} cancelled, {given} given, statuses {dict(statuses)}"
    )
    assert holds >= KILLS, "too little was held when it died for the test to mean anything"
    assert acknowledged >= 3 * KILLS and cancelled >= KILLS and statuses[402] > 0, "too little was done"
