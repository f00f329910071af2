"""Our prefill, decode, cold start and memory against llama.cpp's, on the same file, in alternating runs.

    python benches/peers/compare.py MODEL.gguf --cachalot target/release/cachalot --python VENV/bin/python

Every run is a fresh process that measures itself once (one warm-up prefill, one measured prefill, one measured decode).
A round runs each contender once, and rounds alternate, so that a change of the machine's speed falls on all alike. What
is reported is the median over rounds and the spread from the least to the greatest, for each number of threads and each
length of the prompt, after which the decoding begins. A last set of rounds decodes for eight sequences at once. The page
cache is warm: the file is read once before, and our packed weights are on disk. We run twice: as `cachalot up` does by
itself, with activations of 16 bits where there are outliers, of 8 elsewhere, and a cache of int8 or f16, whichever suits
the CPU; and with 8 bits throughout, as peers have it (llama.cpp rounds activations to 8 bits, OpenVINO its cache too).
llama.cpp runs with flash attention off and on; the best peer counts.

Further contenders, for one sequence: OpenVINO GenAI, where --openvino names an interpreter that has it and it reads the
file; mistral.rs, where --mistralrs names one that has it (where it runs scalar code, as for Q4_1, a run takes minutes);
and with --bench NAME=COMMAND any program that takes the options of ik_llama.cpp's `llama-bench` (-m, -t, -p, -n,
-gp, -o json), ik_llama.cpp's first of all: --bench "ik_llama.cpp=/path/to/llama-bench -rtr 1 -fa 1".

Writes benches/record/DATE-MACHINE[-NAME].md and .json. Needs Python's standard library only; --python names the
interpreter of the environment that has llama-cpp-python (benches/peers/requirements.txt).
"""

import argparse
import datetime
import hashlib
import json
import os
import pathlib
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass

HERE = pathlib.Path(__file__).parent
RECORD = HERE.parent / "record"
METRICS = ["prefill_tokens_s", "decode_tokens_s", "load_ms", "ttft_cold_ms", "ttft_ms", "peak_rss_mib"]
AT_ONCE = ["decode_tokens_s", "total_tokens_s", "each_tokens_s"]
OURS = "cachalot"
OURS_8 = "cachalot, 8 bits"
SEQUENCES = 8


@dataclass
class Contender:
    """A program to measure: its command for a number of threads, and how its output is read."""

    name: str
    command: Callable[[int], list[str]]
    read: Callable[[str], dict]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--cachalot", help="our binary; without it only the peers are measured")
    parser.add_argument("--python", default=sys.executable, help="interpreter that has llama-cpp-python")
    parser.add_argument("--threads", default="1,2", help="thread counts, with commas")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--prompts", default="512", help="tokens of the prompts, with commas")
    parser.add_argument("--generate", type=int, default=128)
    parser.add_argument("--openvino", help="interpreter that has openvino-genai")
    parser.add_argument("--mistralrs", help="interpreter that has mistralrs")
    parser.add_argument("--no-llama-cpp", action="store_true", help="without llama.cpp, which ik_llama.cpp is faster than")
    parser.add_argument("--bench", action="append", default=[], metavar="NAME=COMMAND", help="like ik_llama.cpp's")
    parser.add_argument("--no-together", action="store_true", help="without eight sequences at once")
    parser.add_argument("--name", default="", help="end of the record's name")
    parser.add_argument("--no-record", action="store_true", help="print only")
    options = parser.parse_args()
    options.threads = [int(count) for count in options.threads.split(",")]
    options.prompts = [int(count) for count in options.prompts.split(",")]
    return options


def contenders(options: argparse.Namespace, prompt_tokens: int, sequences: int = 1) -> list[Contender]:
    """Who takes part: us twice, llama.cpp twice, and who else is there; several sequences at once only the first."""
    prompt, generate = str(prompt_tokens), str(options.generate)
    more = ["--sequences", str(sequences)] if sequences > 1 else []
    found = []
    for name, choice in ((OURS, []), (OURS_8, ["--activations", "8", "--kv", "q8"])) if options.cachalot else ():
        found.append(
            Contender(
                name,
                lambda threads, choice=choice: [options.cachalot, "bench", options.model, "-p", prompt, "-n", generate,
                                                "-t", str(threads), "-r", "1", "--no-limits", "--json", *choice, *more],
                read_json,
            )  # fmt: skip
        )
    for flash in () if options.no_llama_cpp else ("off", "on"):
        found.append(
            Contender(
                f"llama.cpp, flash attention {flash}",
                lambda threads, flash=flash: [options.python, str(HERE / "llama_cpp_run.py"), options.model,
                                              "--prompt", prompt, "--generate", generate,
                                              "--threads", str(threads), "--flash-attention", flash, *more],
                read_json,
            )  # fmt: skip
        )
    if sequences > 1:
        return found
    for name, interpreter, script in in_python(options):
        found.append(
            Contender(
                name,
                lambda threads, interpreter=interpreter, script=script: [
                    interpreter, str(script), options.model, "--prompt", prompt, "--generate", generate,
                    "--threads", str(threads),
                ],
                read_json,
            )  # fmt: skip
        )
    for given in options.bench:
        name, command = given.split("=", 1)
        found.append(
            Contender(
                name,
                lambda threads, command=command: [*command.split(), "-m", options.model, "-t", str(threads),
                                                  "-p", prompt, "-n", "0", "-gp", f"{prompt},{generate}",
                                                  "-r", "1", "-o", "json"],
                read_llama_bench,
            )  # fmt: skip
        )
    return found


def in_python(options: argparse.Namespace) -> list[tuple[str, str, pathlib.Path]]:
    """Peers that a script of ours drives: name, interpreter, script."""
    known = [
        ("OpenVINO GenAI", options.openvino, HERE / "openvino_run.py"),
        ("mistral.rs", options.mistralrs, HERE / "mistralrs_run.py"),
    ]
    return [peer for peer in known if peer[1]]


def read_json(text: str) -> dict:
    """The last line, or the whole, of a program that prints one JSON object."""
    try:
        report = json.loads(text)
    except json.JSONDecodeError:
        report = json.loads(text.strip().splitlines()[-1])
    at_once = {f"{name}_tokens_s": report["together"][name]["tokens_s"] for name in ("total", "each")
               if "together" in report}  # fmt: skip
    return {
        **at_once,
        "prefill_tokens_s": report["prefill"]["tokens_s"],
        "decode_tokens_s": report["decode"]["tokens_s"],
        "load_ms": report["load_ms"],
        "ttft_cold_ms": report["ttft_cold_ms"],
        "ttft_ms": report["ttft_ms"],
        "facts": {key: report[key] for key in ("version", "system", "isa", "python_rss_bytes") if key in report},
    }


def read_llama_bench(text: str) -> dict:
    """llama-bench prints one entry for the prompt and one for the generation after it; other lines may be around."""
    found: dict = {"facts": {}}
    for entry in json.loads(text[text.index("[\n") :]):
        key = "prefill_tokens_s" if entry["n_gen"] == 0 else "decode_tokens_s"
        found[key] = entry["avg_ts"]
        found["facts"]["version"] = f"llama-bench build {entry['build_commit']}"
    return found


def measure(contender: Contender, threads: int) -> dict:
    """One run. Memory is the peak resident size of the process, as the kernel counts it, mapped file included."""
    command = contender.command(threads)
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(command, stdout=output, stderr=errors)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        errors.seek(0)
        if process.returncode != 0:
            tail = errors.read().decode(errors="replace")[-2000:]
            raise SystemExit(f"{contender.name} failed with {process.returncode}: {' '.join(command)}\n{tail}")
        found = contender.read(output.read().decode())
    found["peak_rss_mib"] = usage.ru_maxrss / 1024
    found["load_average"] = os.getloadavg()[0]
    return found


def rounds(entrants: list[Contender], threads: int, count: int) -> dict:
    """Some rounds: `{contender: [run, ...]}`. The model must be in the page cache: `sum_of` has read it."""
    runs: dict = {contender.name: [] for contender in entrants}
    for number in range(count):
        # Every other round goes backwards, so that no one always follows the same neighbour.
        for contender in entrants if number % 2 == 0 else reversed(entrants):
            found = measure(contender, threads)
            runs[contender.name].append(found)
            shown = ", ".join(f"{name} {found[name]:.0f}" for name in dict.fromkeys(METRICS + AT_ONCE) if name in found)
            print(f"threads {threads} round {number + 1} {contender.name}: {shown}", file=sys.stderr)
    return runs


def run(options: argparse.Namespace, prompt: int, sequences: int = 1) -> dict:
    """All rounds of a prompt: `{threads: {contender: [run, ...]}}`."""
    entrants = contenders(options, prompt, sequences)
    return {str(threads): rounds(entrants, threads, options.rounds) for threads in options.threads}


def summary(results: dict, metrics: list[str]) -> dict:
    """Median, least and greatest of every metric: `{threads: {contender: {metric: [median, least, greatest]}}}`."""
    found: dict = {}
    for threads, runs in results.items():
        for name, rows in runs.items():
            for metric in metrics:
                values = [row[metric] for row in rows if metric in row]
                if values:
                    numbers = [statistics.median(values), min(values), max(values)]
                    found.setdefault(threads, {}).setdefault(name, {})[metric] = numbers
    return found


def ratios(summarised: dict, metrics: list[str]) -> dict:
    """Each of ours over the best peer's, by threads and metric: `{threads: {metric: {ours: ratio}}}`; above 1 is better."""
    found: dict = {}
    for threads, by_name in summarised.items():
        for metric in metrics:
            peers = [row[metric][0] for name, row in by_name.items() if not is_ours(name) and metric in row]
            if not peers:
                continue
            best = max(peers) if metric.endswith("tokens_s") else min(peers)
            for name in filter(is_ours, by_name):
                ours = by_name[name][metric][0]
                ratio = ours / best if metric.endswith("tokens_s") else best / ours
                found.setdefault(threads, {}).setdefault(metric, {})[name] = ratio
    return found


def is_ours(name: str) -> bool:
    return name in (OURS, OURS_8)


def sum_of(path: pathlib.Path) -> str:
    """SHA-256 of a file, read in pieces: a child's peak memory starts from its parent's size."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def machine() -> dict:
    """The processor and its flags, as the kernel names them."""
    text = pathlib.Path("/proc/cpuinfo").read_text()
    value = lambda key: (re.search(rf"^{key}\s*:\s*(.+)$", text, re.MULTILINE) or [None, "unknown"])[1]  # noqa: E731
    wanted = re.compile(r"^(avx|fma|f16c|bmi2|amx|vnni)")
    memory = re.search(r"MemTotal:\s*(\d+)", pathlib.Path("/proc/meminfo").read_text())
    return {
        "cpu": value("model name"),
        "family_model_stepping": f"{value('cpu family')}/{value('model')}/{value('stepping')}",
        "cores": os.cpu_count(),
        "flags": sorted(flag for flag in value("flags").split() if wanted.match(flag)),
        "memory_gib": round(int(memory[1]) / 2**20, 1) if memory else None,
        "system": f"{platform.system()} {'.'.join(platform.release().split('.')[:2])}",
        "virtual_machine": "hypervisor" in value("flags").split(),
    }


def command_shown(options: argparse.Namespace, contender: Contender, threads: int) -> str:
    """A command without this machine's paths."""
    known = {options.model: "MODEL", options.python: "python", options.cachalot: "cachalot"}
    known[str(HERE / "llama_cpp_run.py")] = "benches/peers/llama_cpp_run.py"
    for _, interpreter, script in in_python(options):
        known |= {interpreter: "python", str(script): f"benches/peers/{script.name}"}
    known |= {given.split("=", 1)[1].split()[0]: "llama-bench" for given in options.bench}
    return " ".join(known.get(word, word) for word in contender.command(threads))


def table(by_name: dict, ratios_of: dict, titles: dict) -> list[str]:
    """Contenders as columns, metrics as rows."""
    lines = ["| | " + " | ".join(by_name) + " | ours / best peer |", "|" + "---|" * (len(by_name) + 2)]
    for metric, title in titles.items():
        cells = []
        for row in by_name.values():
            if metric in row:
                median, least, greatest = row[metric]
                cells.append(f"{median:.1f} ({least:.1f} to {greatest:.1f})")
            else:
                cells.append("")
        ratio = " / ".join(f"{ratio:.2f}" for ratio in ratios_of.get(metric, {}).values())
        lines.append(f"| {title} | " + " | ".join(cells) + f" | {ratio} |")
    return lines


def markdown(record: dict) -> str:
    """The record for people."""
    cpu = record["machine"]
    lines = [
        f"# {record['date']}, {cpu['cpu']}, {cpu['cores']} cores",
        "",
        f"{record['model']['name']} ({record['model']['bytes']} bytes), prefill of a prompt, then decode of "
        f"{record['generate']} tokens. {record['rounds']} alternating rounds, each run a fresh process; median (least to "
        "greatest). The page cache was warm.",
        "",
        f"Family/model/stepping {cpu['family_model_stepping']}, {cpu['memory_gib']} GiB, "
        f"{'virtual machine' if cpu['virtual_machine'] else 'bare metal'}, {cpu['system']}. "
        f"Load average at the end of the runs: {record['load_average'][0]:.1f} to {record['load_average'][1]:.1f}.",
        "",
        f"Flags: {' '.join(cpu['flags'])}",
        "",
    ]
    titles = {
        "prefill_tokens_s": "prefill, tokens/s",
        "decode_tokens_s": "decode, tokens/s",
        "load_ms": "load, ms",
        "ttft_cold_ms": "start of loading to first token, ms",
        "ttft_ms": "first token when loaded, ms",
        "peak_rss_mib": "peak memory, MiB",
    }
    for prompt, found in record["prompts"].items():
        for threads, by_name in found["summary"].items():
            lines += [f"## Prompt of {prompt}, {threads} thread{'s' if threads != '1' else ''}", ""]
            lines += [*table(by_name, found["ratios"].get(threads, {}), titles), ""]
    at_once = record["at_once"]
    titles = {
        "decode_tokens_s": "one sequence, tokens/s",
        "total_tokens_s": f"{SEQUENCES} sequences together, tokens/s",
        "each_tokens_s": "each of them, tokens/s",
    }
    for threads, by_name in at_once["summary"].items():
        lines += [f"## Eight at once, {threads} thread{'s' if threads != '1' else ''}", ""]
        lines += [
            f"{SEQUENCES} sequences decode in one batch, each after a prompt of {at_once['prompt']} tokens; runs "
            "of their own.",
            "",
        ]
        lines += [*table(by_name, at_once["ratios"].get(threads, {}), titles), ""]
    lines += [
        "The last column is ours over the best peer's, as it is by itself and with 8 bits; above 1 is in our favour, "
        "also for times and memory. Peak memory counts the mapped file; llama.cpp's "
        f"includes {record['python_rss_mib']:.0f} MiB of Python and library. llama.cpp samples nothing, and neither "
        "does `cachalot bench`: both stop at the logits.",
        "",
        "Commands (one round each):",
        "",
        "```",
        *record["commands"],
        "```",
        "",
        "Versions: " + "; ".join(record["versions"]),
        "",
    ]
    return "\n".join(lines)


def versions(options: argparse.Namespace, results: dict) -> list[str]:
    """What took part."""
    found = []
    if options.cachalot:
        described = subprocess.run([options.cachalot, "--version"], capture_output=True, text=True, check=True)
        commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=HERE)
        found.append(f"{described.stdout.strip()} at commit {commit.stdout.strip() or 'unknown'}")
    for runs in results.values():
        for rows in runs.values():
            facts = rows[0]["facts"]
            for key in ("version", "system", "isa"):
                if key in facts and facts[key] not in found:
                    found.append(facts[key])
    return found


def main() -> None:
    options = arguments()
    model = pathlib.Path(options.model)
    model_sum = sum_of(model)
    by_prompt = {prompt: run(options, prompt) for prompt in options.prompts}
    summaries = {prompt: summary(results, METRICS) for prompt, results in by_prompt.items()}
    together = {} if options.no_together else run(options, options.prompts[0], SEQUENCES)
    summarised_at_once = summary(together, AT_ONCE)
    all_runs = [*by_prompt.values(), together]
    rows = [row for found in all_runs for runs in found.values() for name in runs for row in runs[name]]
    cpu = machine()
    record = {
        "date": datetime.date.today().isoformat(),
        "machine": cpu,
        "model": {
            "name": model.name,
            "bytes": model.stat().st_size,
            "sha256": model_sum,
        },
        "generate": options.generate,
        "rounds": options.rounds,
        "load_average": [min(row["load_average"] for row in rows), max(row["load_average"] for row in rows)],
        "commands": [
            command_shown(options, contender, threads)
            for prompt, sequences in [
                *((prompt, 1) for prompt in options.prompts),
                *([] if options.no_together else [(options.prompts[0], SEQUENCES)]),
            ]
            for threads in options.threads
            for contender in contenders(options, prompt, sequences)
        ],
        "versions": versions(options, by_prompt[options.prompts[0]]),
        "python_rss_mib": max(row["facts"].get("python_rss_bytes", 0) for row in rows) / 2**20,
        "prompts": {
            str(prompt): {
                "summary": summaries[prompt],
                "ratios": ratios(summaries[prompt], METRICS),
                "runs": results,
            }
            for prompt, results in by_prompt.items()
        },
        "at_once": {
            "sequences": SEQUENCES,
            "prompt": options.prompts[0],
            "summary": summarised_at_once,
            "ratios": ratios(summarised_at_once, AT_ONCE),
            "runs": together,
        },
    }
    text = markdown(record)
    print(text)
    if not options.no_record:
        RECORD.mkdir(exist_ok=True)
        slug = re.sub(r"[^a-z0-9]+", "-", f"{cpu['cpu']} {cpu['family_model_stepping']} {cpu['cores']} cores".lower())
        name = "-".join(filter(None, [record["date"], slug.strip("-"), options.name]))
        (RECORD / f"{name}.md").write_text(text)
        (RECORD / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n")
        print(f"wrote benches/record/{name}.md and .json", file=sys.stderr)


if __name__ == "__main__":
    main()
