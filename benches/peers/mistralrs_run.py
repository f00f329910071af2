"""One measurement of mistral.rs, in a fresh process, printed as one line of JSON as `llama_cpp_run.py` prints it.

It takes a prompt as text only, so this is made of words that are one token each in the vocabularies of GPT-2's kind, and
the measurement fails where they are not. Its own figures give the time of the prompt and that of the tokens after it; what
it samples (the likeliest token) is in them.
"""

import importlib.metadata
import json
import os
import pathlib
import resource
import sys
import time

from one_run import numbers, parser

WORDS = (
    "time people way day man thing woman life child world school state family student group country problem hand part "
    "place case week company system program question work government number night point home water room mother area "
    "money story fact month lot right study book eye job word business issue side kind head house service friend father "
    "power hour game line end member law car city name"
).split()


def prompt(count: int, state: int) -> str:
    return " " + " ".join(WORDS[(number >> 16) % len(WORDS)] for number in numbers(count, state))


def main() -> None:
    options = parser(__doc__).parse_args()
    # Read when the first parallel work begins.
    os.environ["RAYON_NUM_THREADS"] = str(options.threads)
    import mistralrs  # noqa: PLC0415

    begin = time.perf_counter()
    path = pathlib.Path(options.model)
    which = mistralrs.Which.GGUF(quantized_model_id=str(path.parent), quantized_filename=path.name)
    runner = mistralrs.Runner(which, max_seqs=1, prefix_cache_n=0)
    loaded = time.perf_counter()

    def measure(text: str):
        request = mistralrs.CompletionRequest(
            prompt=text, model="default", max_tokens=options.generate + 1, temperature=0.0, ignore_eos=True
        )
        usage = runner.send_completion_request(request).usage
        counts = (usage.prompt_tokens, usage.completion_tokens)
        if counts != (options.prompt, options.generate + 1):
            sys.exit(f"a prompt of {counts[0]} tokens and {counts[1]} after it, not {options.prompt} and {options.generate + 1}")
        return usage

    first = measure(prompt(options.prompt, 1))
    usage = measure(prompt(options.prompt, 12345))
    print(
        json.dumps(
            {
                "prefill": {"tokens": options.prompt, "tokens_s": options.prompt / usage.total_prompt_time_sec},
                "decode": {
                    "tokens": options.generate,
                    "tokens_s": options.generate / usage.total_completion_time_sec,
                },
                "load_ms": (loaded - begin) * 1e3,
                "ttft_cold_ms": (loaded - begin + first.total_prompt_time_sec) * 1e3,
                "ttft_ms": usage.total_prompt_time_sec * 1e3,
                "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
                "version": f"mistralrs {importlib.metadata.version('mistralrs')}",
            }
        )
    )


if __name__ == "__main__":
    main()
