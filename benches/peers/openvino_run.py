"""One measurement of OpenVINO GenAI, in a fresh process, printed as one line of JSON as `llama_cpp_run.py` prints it.

It reads some GGUF files itself and ends with an error for others. Its own metrics give the time to the first token, from
which the rate of prefill follows, and the time of each further one. What it samples (the likeliest token) is in them.
"""

import json
import resource
import sys
import time

import numpy
import openvino
import openvino_genai
from one_run import numbers, parser


def prompt(count: int, state: int) -> openvino_genai.TokenizedInputs:
    """Plain tokens."""
    ids = numpy.array([[100 + number % 40000 for number in numbers(count, state)]], dtype=numpy.int64)
    return openvino_genai.TokenizedInputs(openvino.Tensor(ids), openvino.Tensor(numpy.ones_like(ids)))


def main() -> None:
    options = parser(__doc__).parse_args()
    begin = time.perf_counter()
    pipeline = openvino_genai.LLMPipeline(options.model, "CPU", INFERENCE_NUM_THREADS=options.threads)
    loaded = time.perf_counter()
    config = openvino_genai.GenerationConfig()
    config.max_new_tokens = options.generate + 1
    config.ignore_eos = True
    config.do_sample = False

    # Another prompt for each: it keeps what it has read.
    first = pipeline.generate(prompt(options.prompt, 1), config).perf_metrics
    metrics = pipeline.generate(prompt(options.prompt, 12345), config).perf_metrics
    given = metrics.get_num_generated_tokens()
    if given != options.generate + 1:
        sys.exit(f"{given} tokens were generated, not {options.generate + 1}")
    ttft = metrics.get_ttft().mean
    print(
        json.dumps(
            {
                "prefill": {"tokens": options.prompt, "tokens_s": options.prompt / ttft * 1e3},
                "decode": {"tokens": options.generate, "tokens_s": 1e3 / metrics.get_tpot().mean},
                "load_ms": (loaded - begin) * 1e3,
                "ttft_cold_ms": (loaded - begin) * 1e3 + first.get_ttft().mean,
                "ttft_ms": ttft,
                "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
                "version": f"openvino-genai {openvino_genai.__version__}",
            }
        )
    )


if __name__ == "__main__":
    main()
