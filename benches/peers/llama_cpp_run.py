"""One measurement of llama.cpp, in a fresh process, printed as one line of JSON.

Runs llama.cpp through the C functions that llama-cpp-python exposes, so that no Python stands in the measured loops
but one call per step. The order within the process:

1. load the model, make a context, evaluate the prompt: `load_ms`, `ttft_cold_ms` (nothing is warm but the page cache);
2. evaluate the prompt again, and decode `--generate` tokens one by one: the measured prefill and decode;
3. with `--sequences N`, evaluate the prompt for each of N sequences, and decode for all of them, N tokens a batch.

The fields are those of `cachalot bench --json`, which does the same in the same order with `-r 1`.

Tokens are a fixed pseudo-random list; llama.cpp samples nothing (its logits are fetched, which waits for them).
"""

import argparse
import ctypes
import json
import resource
import sys
import time

import llama_cpp
from llama_cpp import llama_cpp as api
from one_run import numbers, parser


def arguments() -> argparse.Namespace:
    known = parser(__doc__)
    known.add_argument("--sequences", type=int, default=1, help="also decode for so many at once")
    known.add_argument("--flash-attention", choices=["on", "off"], default="off")
    return known.parse_args()


def token_list(count: int, vocabulary: int) -> list[int]:
    """Plain tokens, the same in every run, of the vocabulary past its specials."""
    return [100 + number % (vocabulary - 100) for number in numbers(count, 12345)]


def load(options: argparse.Namespace):
    """The model and a context of it; prompts run in pieces of 512, as in llama.cpp's own benchmark."""
    model_parameters = api.llama_model_default_params()
    model_parameters.n_gpu_layers = 0
    model = api.llama_model_load_from_file(options.model.encode(), model_parameters)
    if not model:
        sys.exit(f"llama.cpp can't load {options.model}")
    context_parameters = api.llama_context_default_params()
    context_parameters.n_ctx = options.sequences * (options.prompt + options.generate)
    context_parameters.n_seq_max = options.sequences
    context_parameters.n_batch = max(options.prompt, 512)
    context_parameters.n_ubatch = 512
    context_parameters.n_threads = context_parameters.n_threads_batch = options.threads
    context_parameters.flash_attn_type = 1 if options.flash_attention == "on" else 0
    context_parameters.no_perf = True
    context = api.llama_init_from_model(model, context_parameters)
    if not context:
        sys.exit("llama.cpp can't make a context")
    return model, context


def decode(context, tokens: list[int]) -> None:
    """One step over the next tokens, until the logits of the last are there."""
    array = (ctypes.c_int32 * len(tokens))(*tokens)
    status = api.llama_decode(context, api.llama_batch_get_one(array, len(tokens)))
    if status != 0:
        sys.exit(f"llama_decode gave {status}")
    api.llama_get_logits_ith(context, -1)


def decode_together(context, prompt: list[int], generate: int, sequences: int) -> float:
    """Seconds for `generate` batches of one token for each of `sequences`, after the same prompt in all."""
    api.llama_memory_clear(api.llama_get_memory(context), True)
    batch = api.llama_batch_init(max(len(prompt), sequences), 0, 1)

    def step(rows: list[tuple[int, int, int, bool]]) -> None:
        """Rows are (token, position, sequence, whether logits are wanted)."""
        batch.n_tokens = len(rows)
        for i, (token, position, sequence, wanted) in enumerate(rows):
            batch.token[i], batch.pos[i], batch.logits[i] = token, position, wanted
            batch.n_seq_id[i], batch.seq_id[i][0] = 1, sequence
        status = api.llama_decode(context, batch)
        if status != 0:
            sys.exit(f"llama_decode gave {status}")
        api.llama_get_logits_ith(context, -1)

    for sequence in range(sequences):
        step([(token, i, sequence, i + 1 == len(prompt)) for i, token in enumerate(prompt)])
    start = time.perf_counter()
    for i in range(generate):
        step([(prompt[(i + s) % len(prompt)], len(prompt) + i, s, True) for s in range(sequences)])
    spent = time.perf_counter() - start
    api.llama_batch_free(batch)
    return spent


def main() -> None:
    options = arguments()
    api.llama_log_set(QUIET, ctypes.c_void_p(0))
    api.llama_backend_init()
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    start = time.perf_counter()
    model, context = load(options)
    loaded = time.perf_counter()
    vocabulary = api.llama_vocab_n_tokens(api.llama_model_get_vocab(model))
    tokens = token_list(options.prompt + options.generate, vocabulary)
    prompt, rest = tokens[: options.prompt], tokens[options.prompt :]
    first = time.perf_counter()
    decode(context, prompt)
    cold = time.perf_counter() - first

    api.llama_memory_clear(api.llama_get_memory(context), True)
    begin, begin_cpu = time.perf_counter(), time.process_time()
    decode(context, prompt)
    prefilled, prefilled_cpu = time.perf_counter(), time.process_time()
    for token in rest:
        decode(context, [token])
    end, end_cpu = time.perf_counter(), time.process_time()

    together = {}
    if options.sequences > 1:
        spent = max(decode_together(context, prompt, len(rest), options.sequences), 1e-9)
        each = {"tokens": len(rest), "tokens_s": len(rest) / spent}
        total = {name: value * options.sequences for name, value in each.items()}
        together = {"together": {"sequences": options.sequences, "total": total, "each": each}}

    print(
        json.dumps(
            {
                "prefill": {"tokens": len(prompt), "tokens_s": len(prompt) / (prefilled - begin)},
                "decode": {"tokens": len(rest), "tokens_s": len(rest) / max(end - prefilled, 1e-9)},
                **together,
                "prefill_cpu_s": prefilled_cpu - begin_cpu,
                "decode_cpu_s": end_cpu - prefilled_cpu,
                "load_ms": (loaded - start) * 1e3,
                "ttft_cold_ms": (loaded - start + cold) * 1e3,
                "ttft_ms": (prefilled - begin) * 1e3,
                "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
                "python_rss_bytes": before_kib * 1024,
                "version": f"llama-cpp-python {llama_cpp.__version__}",
                "system": api.llama_print_system_info().decode().strip(),
            }
        )
    )


@api.llama_log_callback
def QUIET(level, text, user_data):
    """llama.cpp's log is not wanted in the output."""


if __name__ == "__main__":
    main()
