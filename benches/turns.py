"""How long the first token of each turn of a conversation takes.

    python benches/turns.py target/release/cachalot MODEL.gguf

Five conversations of ten turns, turn by turn in alternation, so that what one leaves in the prefix cache has to outlast
the others. Each turn sends the whole history; the user's part is as long in every turn. The same is then done with a
number at the beginning of the history that changes each time, so that the cache has nothing: what it would cost without.
Writes benches/record/DATE-MACHINE-turns.md, and fails if the tenth turn takes more than 1.3 times as long as the second.
"""

import datetime
import os
import random
import statistics
import sys

from serving import Server, Stream, facts, serving, spread, write_record

CONVERSATIONS = 5
TURNS = 10
USER_WORDS = 40
TOKENS_MAX = 48
RATIO_MAX = 1.3
WORDS = (
    "whale ocean dive deep sound song north south ice wave storm ship rope keel mast sail crew night morning light water "
    "cold warm slow fast long short first last every other under over with about near far"
).split()


def user_text(conversation: int, turn: int, salt: int) -> str:
    chance = random.Random(f"{salt} {conversation} {turn}")
    return f"Tell me more about {' '.join(chance.choices(WORDS, k=USER_WORDS))}."


def converse(server: Server, salt: int, cached: bool) -> list[list[Stream]]:
    """`[turn][conversation]`."""
    histories: list[list[dict]] = [[] for _ in range(CONVERSATIONS)]
    turns: list[list[Stream]] = []
    for turn in range(TURNS):
        row = []
        for number, history in enumerate(histories):
            history.append({"role": "user", "content": user_text(number, turn, salt)})
            first = [] if cached else [{"role": "system", "content": f"{random.randrange(1 << 60)} is a number."}]
            answer = server.stream(messages=first + history, temperature=0, max_tokens=TOKENS_MAX)
            history.append({"role": "assistant", "content": answer.text})
            row.append(answer)
        turns.append(row)
        print(f"turn {turn + 1}: {spread([answer.first_s * 1000 for answer in row])} ms", file=sys.stderr)
    return turns


def table(turns: list[list[Stream]]) -> str:
    lines = ["| turn | time to the first token, ms | prompt, tokens | of these from the cache | read |", "|---|---|---|---|---|"]
    for number, row in enumerate(turns, 1):
        prompt = statistics.median(answer.usage["prompt_tokens"] for answer in row)
        hits = statistics.median(answer.usage["prompt_cache_hit_tokens"] for answer in row)
        first = spread([answer.first_s * 1000 for answer in row])
        lines.append(f"| {number} | {first} | {prompt:.0f} | {hits:.0f} | {prompt - hits:.0f} |")
    return "\n".join(lines)


def main() -> None:
    binary, model = sys.argv[1:3]
    loads = [os.getloadavg()[0]]
    with serving(binary, model) as server:
        # The caches of the processor, and the kernel's, are warm before anything counts.
        converse(server, 1, cached=True)
        loads.append(os.getloadavg()[0])
        cached = converse(server, 2, cached=True)
        loads.append(os.getloadavg()[0])
        without = converse(server, 3, cached=False)
        loads.append(os.getloadavg()[0])
    ratios = [last.first_s / second.first_s for second, last in zip(cached[1], cached[-1], strict=True)]
    medians = [statistics.median(answer.first_s for answer in cached[turn]) for turn in (1, -1)]
    ratio = medians[1] / medians[0]
    other = statistics.median(answer.first_s for answer in without[-1]) / medians[1]
    record = f"""# Ten turns: {datetime.date.today()}

{CONVERSATIONS} conversations of {TURNS} turns in alternation, greedy, at most {TOKENS_MAX} tokens an answer; median (least to greatest) over the conversations. {facts(binary, model, loads)}

**The tenth turn's first token takes {ratio:.2f} times as long as the second's** (by conversation {spread(ratios, 2)}; at most {RATIO_MAX} is allowed).

{table(cached)}

What the cache has comes in whole blocks, so up to a block of each prompt is read again. Without it (the history begins with another number each time) the tenth turn takes {other:.1f} times as long as with it:

{table(without)}

Made by `benches/turns.py target/release/cachalot MODEL`.
"""
    print(record)
    print(write_record("turns", record), file=sys.stderr)
    if ratio > RATIO_MAX:
        raise SystemExit(f"the tenth turn takes {ratio:.2f} times as long as the second, at most {RATIO_MAX} is allowed")


if __name__ == "__main__":
    main()
