"""`kill -9` at random moments while people sign up, chat, rename and delete: nothing that was acknowledged is lost.

CACHALOT_KILLS says how often (a few in `make test`, 200 in `make soak`), CACHALOT_SEED repeats a run's choices.
"""

import os
import pathlib
import random
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from program import PASSWORD, READY_SECONDS_MAX, Gone, Program

KILLS = int(os.environ.get("CACHALOT_KILLS", "5"))
SEED = int(os.environ.get("CACHALOT_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
WORKERS = 3
# Answers that a worker leaves running before it stops the oldest.
RUNNING_MAX = 2
ENDED = {"complete", "stopped", "length", "interrupted", "failed"}


@dataclass
class Conversation:
    """What may be found of a conversation: several values where a change was asked for and never answered."""

    titles: set[str]
    messages: dict[str, str] = field(default_factory=dict)
    maybe_deleted: bool = False


@dataclass
class Person:
    """Somebody who was acknowledged, and what of theirs was."""

    name: str
    cookie: str
    conversations: dict[str, Conversation] = field(default_factory=dict)
    deleted: set[str] = field(default_factory=set)


class Worker:
    """Does what one person does, until the server dies, and keeps account of what was acknowledged."""

    def __init__(self, program: Program, number: int, people: list[Person]) -> None:
        self.program = program
        self.number = number
        self.random = random.Random(SEED * 1000 + number)
        self.people = people
        self.failure: BaseException | None = None
        # Tickets of places in the waiting list.
        self.places: list[str] = []
        self.acknowledged = 0
        self.serial = 0

    def run(self) -> None:
        try:
            running: list[str] = []
            while True:
                self.step(running)
        except Gone:
            pass
        except BaseException as error:  # noqa: BLE001 - told by the main thread
            self.failure = error

    def ask(self, person: Person, method: str, path: str, body: object, *expected: int) -> dict:
        status, answer, _ = self.program.ask(method, path, body, person.cookie)
        assert status in expected, f"{method} {path} {body}: {status} {answer}"
        self.acknowledged += 1
        return answer

    def step(self, running: list[str]) -> None:
        choice = self.random.random()
        person = self.random.choice(self.people)
        existing = [key for key, kept in person.conversations.items() if not kept.maybe_deleted]
        if choice < 0.05:
            self.sign_up()
        elif choice < 0.55 or not existing:
            self.chat(person, self.random.choice(existing) if existing and choice < 0.3 else None, running)
        elif choice < 0.8:
            self.rename(person, self.random.choice(existing))
        else:
            self.delete(person, self.random.choice(existing))

    def sign_up(self) -> None:
        self.serial += 1
        name = f"sailor {self.number} {self.serial} {self.random.randrange(1 << 30)}"
        # It may be used up without our hearing of it.
        shown = self.places.pop() if self.places else None
        asked = {"name": name, "password": PASSWORD} | ({"place": shown} if shown else {})
        status, answer, cookie = self.program.ask("POST", "/api/sign-up", asked)
        # What the limits turn away is not acknowledged; a place in the waiting list is.
        assert status in (201, 202, 428, 429), (status, answer)
        if status == 201:
            self.acknowledged += 1
            self.people.append(Person(name, cookie))
        elif status == 202:
            self.acknowledged += 1
            self.places.append(answer["waiting"]["place"])
        elif shown:
            self.places.append(shown)

    def chat(self, person: Person, known: str | None, running: list[str]) -> None:
        if known is None:
            known = self.ask(person, "POST", "/api/conversations", {}, 201)["id"]
            person.conversations[known] = Conversation({""})
        kept = person.conversations[known]
        text = f"Say hello. {self.random.randrange(1 << 60)}"
        kept.titles |= {text} if "" in kept.titles else set()
        path = f"/api/conversations/{known}/messages"
        status, turn, _ = self.program.ask("POST", path, {"content": text}, person.cookie)
        # Another worker's answer may still be written, or the conversation was just deleted.
        assert status in (201, 404, 409), (status, turn)
        if status == 201:
            self.acknowledged += 1
            kept.messages[turn["user"]["id"]] = text
            running.append(f"{path}/{turn['assistant']['id']}|{person.cookie}")
        if len(running) > RUNNING_MAX:
            stopping, cookie = running.pop(0).split("|")
            assert self.program.ask("POST", f"{stopping}/stop", {}, cookie)[0] in (200, 404)

    def rename(self, person: Person, conversation: str) -> None:
        kept = person.conversations[conversation]
        title = f"Log {self.random.randrange(1 << 60)}"
        kept.titles.add(title)
        path = f"/api/conversations/{conversation}"
        status, answer, _ = self.program.ask("PATCH", path, {"title": title}, person.cookie)
        assert status in (200, 404), (status, answer)
        self.acknowledged += status == 200

    def delete(self, person: Person, conversation: str) -> None:
        person.conversations[conversation].maybe_deleted = True
        status, answer, _ = self.program.ask("DELETE", f"/api/conversations/{conversation}", {}, person.cookie)
        assert status in (204, 404), (status, answer)
        self.acknowledged += 1
        person.conversations.pop(conversation, None)
        person.deleted.add(conversation)


@pytest.fixture
def program(binary: pathlib.Path, model_file: pathlib.Path, tmp_path: pathlib.Path) -> Iterator[Program]:
    """The program, started with an empty home."""
    program = Program(binary, model_file, tmp_path)
    program.start()
    yield program
    program.kill()


def check_places(program: Program, places: list[str]) -> None:
    """Whoever waited for an account still waits."""
    for place in places:
        status, answer, _ = program.ask("POST", "/api/places", {"place": place})
        assert status == 200, (status, answer)


def check_people(program: Program, people: list[Person], chance: random.Random) -> None:
    """Everything acknowledged is there; what was never answered is there whole or not at all."""
    for person in people:
        status, session, _ = program.ask("GET", "/api/session", None, person.cookie)
        assert status == 200 and session["user"]["name"] == person.name, session
        for key in person.deleted:
            assert program.ask("GET", f"/api/conversations/{key}", None, person.cookie)[0] == 404
        for key, kept in list(person.conversations.items()):
            status, tree, _ = program.ask("GET", f"/api/conversations/{key}", None, person.cookie)
            if kept.maybe_deleted and status == 404:
                del person.conversations[key]
                continue
            assert status == 200, (key, status, tree)
            kept.maybe_deleted = False
            assert tree["conversation"]["title"] in kept.titles, (tree["conversation"], kept.titles)
            found = {message["id"]: message for message in tree["messages"]}
            for id_, text in kept.messages.items():
                assert found[id_]["content"] == text
            answers = [message for message in tree["messages"] if message["role"] == "assistant"]
            assert all(answer["status"] in ENDED for answer in answers), answers
            parents = {message["parent_id"] for message in tree["messages"]}
            for answer in answers:
                if answer["status"] == "interrupted":
                    go_on(program, person, key, answer, answer["id"] in parents, chance.random() < 0.2)


def go_on(
    program: Program, person: Person, conversation: str, cut: dict, replied_to: bool, whole: bool
) -> None:
    """An interrupted answer goes on in its place, unless the conversation has gone on from it as it is."""
    path = f"/api/conversations/{conversation}/messages/{cut['id']}"
    status, answer, _ = program.ask("POST", f"{path}/continue", {}, person.cookie)
    assert status == (409 if replied_to else 200), answer
    if replied_to:
        return
    resumed = answer["assistant"]
    assert (resumed["id"], resumed["content"]) == (cut["id"], cut["content"]), (cut, resumed)
    deadline = time.monotonic() + READY_SECONDS_MAX
    # Now and then until it says more.
    while whole and resumed["status"] == "generating" and len(resumed["content"]) <= len(cut["content"]):
        assert time.monotonic() < deadline, "the answer does not go on"
        time.sleep(0.02)
        tree = program.ask("GET", f"/api/conversations/{conversation}", None, person.cookie)[1]
        resumed = next(message for message in tree["messages"] if message["id"] == cut["id"])
    status, stopped, _ = program.ask("POST", f"{path}/stop", {}, person.cookie)
    assert status == 200 and stopped["status"] in ENDED - {"failed", "interrupted"}, stopped
    assert stopped["content"].startswith(cut["content"]), (cut, stopped)


def test_nothing_acknowledged_is_lost_when_the_program_is_killed(program: Program) -> None:
    print(f"CACHALOT_SEED={SEED}")
    chance = random.Random(SEED)
    asked = {"token": program.setup_token(), "name": "captain", "password": PASSWORD}
    status, answer, cookie = program.ask("POST", "/api/setup", asked)
    assert status == 201, answer
    groups = [[Person("captain", cookie)]]
    for number in range(1, WORKERS):
        name = f"mate {number}"
        status, answer, cookie = program.ask("POST", "/api/sign-up", {"name": name, "password": PASSWORD})
        assert status == 201, answer
        groups.append([Person(name, cookie)])
    workers = [Worker(program, number, people) for number, people in enumerate(groups)]
    for kill in range(KILLS):
        threads = [threading.Thread(target=worker.run) for worker in workers]
        for thread in threads:
            thread.start()
        time.sleep(chance.uniform(0.05, 2.0))
        program.kill()
        for thread in threads:
            thread.join(timeout=90)
            assert not thread.is_alive()
        for worker in workers:
            if worker.failure is not None:
                raise worker.failure
        program.check_database()
        program.start()
        # All of it, now and then and at the end; otherwise the newest of each.
        for worker in workers:
            check_places(program, worker.places)
        for people in groups:
            whole = kill % 20 == 0 or kill == KILLS - 1
            check_people(program, people if whole else people[-3:], chance)
    acknowledged = sum(worker.acknowledged for worker in workers)
    print(f"{KILLS} kills, {acknowledged} requests acknowledged, none lost")
    assert acknowledged >= 5 * KILLS, "too little was done for the test to mean anything"
