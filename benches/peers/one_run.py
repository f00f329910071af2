"""What the measurements of one peer in one process have in common: their options, and what their prompts are made of."""

import argparse
from collections.abc import Iterator


def parser(description: str) -> argparse.ArgumentParser:
    """The options that all of them take."""
    found = argparse.ArgumentParser(description=description.splitlines()[0])
    found.add_argument("model")
    found.add_argument("--threads", type=int, default=2)
    found.add_argument("--prompt", type=int, default=512)
    found.add_argument("--generate", type=int, default=128)
    return found


def numbers(count: int, state: int) -> Iterator[int]:
    """A linear congruential sequence below 2^31, the same in every run."""
    for _ in range(count):
        state = (state * 1103515245 + 12345) % 2**31
        yield state
