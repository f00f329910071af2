"""The attack drill as a record: five seeds, each defence off in turn, 100 times the strength, a crowd, more and more
addresses, what a refusal costs, and a plain server beside it.

    python benches/drill.py target/release/cachalot MODEL.gguf [--plain target/release/examples/plain] [--seeds 5] [--alone]
    python benches/drill.py target/release/cachalot MODEL.gguf --costs
    python benches/drill.py target/release/cachalot MODEL.gguf --mix [--duration 66]

Each drill is paired with its own calm on the same cores (docs/drill.md). All but the one that watches registration
reopen and measures costs are `--quick` ones, of 11 s unless `--mix` is given a `--duration`: in 66 s a phase has more
than a hundred chats, so that their 99th percentile is not the slowest. Nothing else may run on the machine meanwhile.
Writes benches/record/DATE-MACHINE-drill.md, and beside it a .json with every summary; docs/drill.md says what the figures are.
"""

import argparse
import json
import math
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

from serving import RECORD, facts, write_record

# Figure, goal, and whether the goal is the least that it may be.
FIGURES = [
    ("goodput_ratio", 0.99, True),
    ("ttft_p99_ratio", 1.25, False),
    ("streams_complete_ratio", 1.0, True),
    ("logins_ok_ratio", 0.99, True),
    ("established_challenged", 0, False),
    ("established_blocked_ratio", 0.001, False),
    ("newcomers_served_ratio", 0.9, True),
    ("detect_seconds", 3, False),
    ("restore_seconds", 5, False),
]
ALONE = [
    "http-flood", "rapid-reset", "continuation", "registration-flood", "credential-stuffing", "slowloris", "slow-read",
    "sse-hoarding", "expensive-prompts", "sleepers", "pulses",
]
ABLATIONS = [
    "connections", "gate", "request_rates", "request_slots", "hash_shares", "write_lanes", "logins", "prices",
    "engine_shares", "brownout",
]
COSTS = (
    "Each kind alone for six seconds, once the server is at rest after the drill and after the kind before; the last "
    "three are measured, when it has had what there is for everybody. The server's "
    "processor time, but for what its model takes, by all answers, refused or served.\n\n"
)
ADDRESSES = [100, 1_000, 10_000, 100_000, 1_000_000]


class Drills:
    """Runs drills, and keeps what they found."""

    def __init__(self, binary: str, model: str) -> None:
        self.binary, self.model = binary, model
        self.short = ["--quick"]
        self.kept: dict[str, dict] = {}
        self.loads: list[float] = []

    def run(self, name: str, *arguments: str, environment: dict | None = None, quick: bool = True) -> dict:
        """The whole report."""
        self.loads.append(os.getloadavg()[0])
        with tempfile.TemporaryDirectory() as folder:
            save = pathlib.Path(folder) / "drill.json"
            model = [] if "--target" in arguments else ["--model", self.model]
            short = self.short if quick else []
            command = [self.binary, "drill", *short, "--json", "--save", str(save), *model, *arguments]
            ran = subprocess.run(
                command, capture_output=True, text=True, env=os.environ | (environment or {}), check=False
            )
            if not save.exists() or not save.read_text():
                raise SystemExit(f"{' '.join(command)}: {ran.stderr}")
            report = json.loads(save.read_text())
        it = report["summary"]
        self.kept[name] = {"arguments": [*short, *arguments], "summary": it, "costs": report["costs"]}
        print(f"{name}: {json.dumps(it)}", file=sys.stderr, flush=True)
        return report


def text(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.0f}" if value == int(value) else f"{value:.2f}" if abs(value) >= 0.01 else f"{value:.4f}"


def met(value: float | None, goal: float | None, at_least: bool) -> str:
    if value is None or goal is None:
        return ""
    return " ✓" if (value >= goal if at_least else value <= goal) else " ✗"


def row(name: str, summary: dict, figures: list) -> str:
    cells = [text(summary[figure]) + met(summary[figure], goal, least) for figure, goal, least in figures]
    accounts = f"{text(summary['attacker_accounts'])} of {text(summary['account_budget'])}"
    return f"| {name} | {' | '.join(cells)} | {accounts} |"


def table(first: str, rows: list[tuple[str, dict]], other: dict | None = None) -> str:
    """With other goals where there are such; none for a figure that says nothing there."""
    figures = [(figure, (other or {}).get(figure, goal), least) for figure, goal, least in FIGURES]
    goals = ["-" if goal is None else f"{'≥' if least else '≤'} {goal:g}" for _, goal, least in figures]
    head = [
        f"| {first} | goodput | p99 TTFT | streams whole | logins | challenged | blocked | newcomers | detect, s "
        "| restore, s | attackers' accounts |",
        f"|{'---|' * (len(FIGURES) + 2)}",
        f"| goal | {' | '.join(goals)} | at most the budget |",
    ]
    return "\n".join(head + [row(name, summary, figures) for name, summary in rows])


def usage(report: dict) -> tuple[float, float, float]:
    """The server's most resident memory in MiB, most descriptors, and by how much its files grew at most, in MiB, from
    the attack's beginning on."""
    begins = report["plan"]["calm"]
    of_server = [sample["server"] for sample in report["samples"] if sample["server"] and sample["at_seconds"] > begins]
    stored = [sample["stored_bytes"] for sample in report["samples"] if sample["at_seconds"] > begins]
    memory = max(it["resident_bytes"] for it in of_server) / 2**20
    return memory, max(it["descriptors"] for it in of_server), (max(stored) - stored[0]) / 2**20


def waits(reports: list[dict]) -> str:
    """First tokens of all seeds' chats together: of twenty chats the 99th percentile is the slowest, of a hundred it says
    more. Who saw none counts as having waited as long as people wait."""
    rows = ["| phase | chats | median, ms | 95 %, ms | 99 %, ms | slowest, ms |", "|---|---|---|---|---|---|"]
    found = {}
    for phase in ("calm", "attack"):
        times = []
        for report in reports:
            span = next(it for it in report["phases"] if it["phase"] == phase)
            patience = report["plan"]["targets"]["patience_seconds"] * 1e3
            times += [
                patience if chat["ttft_ms"] is None else chat["ttft_ms"]
                for chat in report["chats"]
                if span["began_seconds"] <= chat["at_seconds"] < span["ended_seconds"]
            ]
        times.sort()
        at = [times[max(0, math.ceil(part * len(times)) - 1)] for part in (0.5, 0.95, 0.99, 1)]
        found[phase] = at
        rows.append(f"| {phase} | {len(times)} | {' | '.join(f'{time:.0f}' for time in at)} |")
    ratios = [attack / calm for calm, attack in zip(found["calm"], found["attack"], strict=True)]
    rows.append(f"| attack / calm | | {' | '.join(f'{ratio:.2f}' for ratio in ratios)} |")
    return "The chats of all seeds together:\n\n" + "\n".join(rows)


def costs(report: dict) -> str:
    lines = [
        "| kind | refused | served | answers by status | server, µs a refusal | without hashes | sender, µs an answer |",
        "|---|---|---|---|---|---|---|",
    ]
    for cost in report["costs"]:
        refusal = cost["server_micros_per_refusal"]
        said, answer = text(refusal), cost["server_micros_per_answer"]
        if refusal is None:
            said = cost["why_not"] or "-"
            # To serve takes more than to refuse.
            if answer is not None:
                said = f"less than {text(answer)}: {said}"
        sender, spare = text(cost["attacker_micros_per_answer"]), cost["spare_micros_per_answer"]
        # Hashes and long prompts are for those who were let in.
        rest = "-" if answer is None or spare is None else text(max(0, answer - spare))
        statuses = ", ".join(f"{status}: {answers}" for status, answers in cost["statuses"].items())
        lines.append(f"| {cost['kind']} | {cost['refused']} | {cost['served']} | {statuses} | {said} | {rest} | {sender} |")
    return "\n".join(lines)


def every_seed(record: "Record", title: str, drills: Drills, count: int, strength: int | None = None) -> dict:
    """The main mix with every seed; the summary of the first."""
    other = [] if strength is None else ["--strength", str(strength)]
    before = "" if strength is None else f"{strength} times, "
    seeds = []
    for seed in range(1, count + 1):
        name = f"{before}seed {seed}"
        seeds.append((name, drills.run(name, "--seed", str(seed), *other)))
    median = {
        figure: statistics.median(values) if all(value is not None for value in values) else None
        for figure in seeds[0][1]["summary"]
        for values in [[report["summary"][figure] for _, report in seeds]]
    }
    goals = {} if strength is None else {"goodput_ratio": 0.95}
    mix = table("seed", [*summaries(seeds), ("median", median)], goals)
    record.add(title, mix + "\n\n" + waits([report for _, report in seeds]))
    return seeds[0][1]["summary"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("binary")
    parser.add_argument("model")
    parser.add_argument("--plain", help="the plain server, to compare with")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--duration", type=int, help="seconds of the long drill's attack (60), of all with --mix")
    parser.add_argument("--costs", action="store_true", help="what a refusal costs, and nothing else")
    parser.add_argument(
        "--mix", action="store_true", help="the main mix with every seed, also at 100 times the strength, and nothing else"
    )
    parser.add_argument("--alone", action="store_true", help="each kind of attack alone, too")
    arguments = parser.parse_args()
    drills = Drills(arguments.binary, arguments.model)
    if arguments.costs:
        record = Record(drills, "drill-costs", "`python benches/drill.py BINARY MODEL --costs`")
        short = drills.run("costs", "--seed", "1", "--duration", "15", quick=False)
        record.add("What a refusal costs", COSTS + costs(short))
        return
    if arguments.mix:
        name, command = "drill-mix", "python benches/drill.py BINARY MODEL --mix"
        if arguments.duration:
            drills.short += ["--duration", str(arguments.duration)]
            name, command = f"{name}-{arguments.duration}-s", f"{command} --duration {arguments.duration}"
        record = Record(drills, name, f"`{command}`")
    else:
        command = "make bench-drill" if arguments.plain else "python benches/drill.py BINARY MODEL"
        record = Record(drills, "drill", f"`{command}`")
    first = every_seed(record, "The main mix", drills, arguments.seeds)
    if arguments.mix:
        every_seed(record, "100 times", drills, arguments.seeds, 100)
        return
    duration = arguments.duration or 60
    long = drills.run("long", "--seed", "1", "--duration", str(duration), quick=False)
    reopened = text(long["summary"]["reopen_seconds"])
    record.add(
        f"{duration} s of calm, {duration} s of attack",
        table("drill", [("seed 1", long["summary"])])
        + f"\n\nRegistration was open again {reopened} s after the end (goal: at most 120); the gate moved "
        f"{long['gate_moves']} times in all.",
    )
    record.add("What a refusal costs", COSTS + costs(long))
    crowd = drills.run("viral", "--seed", "1", "--attack", "viral")
    suspended = any(sample["level"] == "suspended" for sample in crowd["samples"])
    record.add(
        "A crowd that is no attack",
        # There is nothing to detect.
        table("drill", [("viral, 5 times the newcomers", crowd["summary"])], {"detect_seconds": None})
        + f"\n\nRegistration was {'' if suspended else 'never '}suspended.",
    )
    every_seed(record, "100 times", drills, arguments.seeds, 100)
    if arguments.plain:
        environment = {"CACHALOT_DRILL_PLAIN": arguments.plain}
        plain = drills.run("plain", "--seed", "1", "--target", "plain", environment=environment)
        record.add(
            "A plain server",
            "axum without any defence, whose model is a clock and costs nothing (docs/drill.md), under the same drill.\n\n"
            + table("server", [("Cachalot, seed 1", first), ("plain axum", plain["summary"])]),
        )
    grown = []
    for count in ADDRESSES:
        report = drills.run(f"{count} addresses", "--seed", "1", "--addresses", str(count))
        memory, files, stored = usage(report)
        goodput = text(report["summary"]["goodput_ratio"])
        grown.append(f"| {count:,} | {memory:.0f} | {files:.0f} | {stored:.2f} | {goodput} |")
    record.add(
        "More addresses",
        "The server's process and its database, at most, from the attack's beginning on.\n\n"
        "| attackers' addresses | resident, MiB | descriptors | more stored, MiB | goodput |\n"
        "|---|---|---|---|---|\n" + "\n".join(grown),
    )
    without = [(name, drills.run(f"without {name}", "--seed", "1", "--ablate", name)) for name in ABLATIONS]
    record.add("Without one defence", "The main mix, seed 1.\n\n" + table("off", [("none", first), *summaries(without)]))
    if arguments.alone:
        alone = [(kind, drills.run(f"alone: {kind}", "--seed", "1", "--attack", kind)) for kind in ALONE]
        record.add("Each kind alone", table("kind", summaries(alone)))


def summaries(reports: list[tuple[str, dict]]) -> list[tuple[str, dict]]:
    return [(name, report["summary"]) for name, report in reports]


class Record:
    """The record as far as it has come, so that a run that is broken off has not been for nothing."""

    def __init__(self, drills: Drills, name: str, command: str) -> None:
        self.drills, self.name, self.command = drills, name, command
        self.parts: list[str] = []

    def add(self, title: str, part: str) -> None:
        self.parts.append(f"## {title}\n\n{part}")
        head = [
            "# The attack drill",
            f"{self.command}. {facts(self.drills.binary, self.drills.model, self.drills.loads)}",
            "Server on half of the cores, people and attackers on the others; ten times what the server can serve of each "
            "resource unless something else is said. docs/drill.md says what each figure is. In the 11 s of a phase with "
            "`--quick` there are some fifteen chats, so that the p99 is the slowest of them.",
        ]
        path = write_record(self.name, "\n\n".join(head + self.parts) + "\n")
        path.with_suffix(".json").write_text(json.dumps(self.drills.kept, indent=1) + "\n")
        print(f"{path.relative_to(RECORD.parent.parent)}: {title}")


if __name__ == "__main__":
    main()
