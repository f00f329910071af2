"""What a grammar costs each token of an answer.

    python benches/steered.py target/release/cachalot MODEL.gguf

Free text against answers held to a JSON Schema and to regular expressions: as many tokens each, none of which ends early,
in rounds that alternate. From token to token is (last token - first token) / (tokens - 1), as the client sees it, on the
mean of an answer; the median over the rounds counts. Writes benches/record/DATE-MACHINE-steered.md, and fails if a
grammar costs 5 % or more.
"""

import datetime
import os
import statistics
import sys

from serving import Server, Stream, facts, serving, spread, write_record

ROUNDS = 11
TOKENS = 256
SLOWER_MAX = 0.05


def schema(items: dict) -> dict:
    described = {"name": "list", "strict": True, "schema": {"type": "array", "items": items, "minItems": 1000}}
    return {"type": "json_schema", "json_schema": described}


PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 1, "maxLength": 40},
        "age": {"type": "integer", "minimum": 0, "maximum": 120},
        "kind": {"enum": ["sailor", "captain", "whale"]},
        "notes": {"type": "array", "items": {"type": "string"}, "maxItems": 3},
    },
    "required": ["name", "age", "kind", "notes"],
    "additionalProperties": False,
}
FORMS: dict[str, dict] = {
    "free text": {},
    "a list of strings (JSON Schema)": {"response_format": schema({"type": "string"})},
    "a list of objects (JSON Schema)": {"response_format": schema(PERSON)},
    "words (regular expression)": {"guided_regex": "([A-Za-z]{1,12}[ ,.]){1000}"},
}


def measure(server: Server, form: str, number: int) -> Stream:
    """One answer. The model is asked for the same in each form; it may not end before its tokens are used up."""
    text = f"Write a very long story about {number} sailors who meet a whale. Go on and on, and never stop."
    answer = server.stream(
        messages=[{"role": "user", "content": text}],
        temperature=1,
        seed=number,
        max_tokens=TOKENS,
        logit_bias={str(end): -100 for end in ENDS},
        **FORMS[form],
    )
    if answer.usage["completion_tokens"] != TOKENS or answer.finish != "length":
        raise SystemExit(f"{form}: {answer.usage['completion_tokens']} tokens, {answer.finish}")
    return answer


# Tokens that end an answer of SmolLM2: <|endoftext|>, <|im_end|>.
ENDS = [0, 2]


def main() -> None:
    binary, model = sys.argv[1:3]
    loads = [os.getloadavg()[0]]
    found: dict[str, list[Stream]] = {form: [] for form in FORMS}
    with serving(binary, model) as server:
        for form in FORMS:
            measure(server, form, 99)
        for number in range(ROUNDS):
            forms = list(FORMS)
            for form in forms if number % 2 == 0 else reversed(forms):
                found[form].append(measure(server, form, number))
            shown = ", ".join(f"{form}: {runs[-1].between_tokens_ms:.2f}" for form, runs in found.items())
            print(f"round {number + 1}: {shown} ms", file=sys.stderr)
            loads.append(os.getloadavg()[0])
    free = [run.between_tokens_ms for run in found["free text"]]
    lines = ["| form | between tokens, ms | against free text, median | by round | first token, ms |", "|---|---|---|---|---|"]
    slower = {}
    for form, runs in found.items():
        between = [run.between_tokens_ms for run in runs]
        slower[form] = statistics.median(between) / statistics.median(free) - 1
        by_round = [(one / other - 1) * 100 for one, other in zip(between, free, strict=True)]
        first = spread([run.first_s * 1000 for run in runs])
        lines.append(f"| {form} | {spread(between, 2)} | {slower[form] * 100:+.1f} % | {spread(by_round)} % | {first} |")
    worst = max(slower.values())
    record = f"""# Decoding under a grammar: {datetime.date.today()}

{ROUNDS} alternating rounds, {TOKENS} tokens an answer, temperature 1, one answer at a time; median (least to greatest) over the rounds. {facts(binary, model, loads)}

**A grammar makes a token {worst * 100:+.1f} % slower at the worst** (less than {SLOWER_MAX * 100:.0f} % is allowed).

{chr(10).join(lines)}

Made by `benches/steered.py target/release/cachalot MODEL`.
"""
    print(record)
    print(write_record("steered", record), file=sys.stderr)
    if worst >= SLOWER_MAX:
        raise SystemExit(f"a grammar makes a token {worst * 100:.1f} % slower, less than {SLOWER_MAX * 100:.0f} % is allowed")


if __name__ == "__main__":
    main()
