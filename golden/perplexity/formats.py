"""Compares our perplexity with llama.cpp's over text.txt, for each format that weights come in.

    python golden/perplexity/formats.py MODEL.gguf OURS...     # `make perplexity` calls it

MODEL is SmolLM2-135M-Instruct Q4_1; OURS is a command that takes TEXT.json, a rounding and a model, and prints its perplexity
(crates/models/examples/perplexity.rs). For each format:

1. llama.cpp's quantiser makes a file of it, from the model's weights in f32, with all matrices in that one format;
2. llama.cpp (llama-cpp-python, f16 KV cache, flash attention off) gives the text's perplexity by it, and by the same
   weights dequantised to an F32 file;
3. so do we by the first file, with the inputs of products rounded to 16 bits, to 8, and mixed.

All read the same token ids, those of expected.json, in windows of 512 tokens. llama.cpp rounds the inputs of products to
8 bits, for the _K formats and IQ4_XS with one scale for 256 columns (to f16 or bf16 for files in F16 and BF16, and not at
all for F32). That alone moves its perplexity by up to some percent, so ours is held to the one by the dequantised weights.

The formats ending in _K and IQ4_XS take blocks of 256 columns, of which SmolLM2's 576 aren't a multiple; llama.cpp would
silently take other formats instead. So the model is widened first, to 768 columns and 12 heads: what is added is zero,
and the factors and epsilon of norms are those that make up for the longer mean. It is the same function of the tokens, and
the F32 file has the perplexity of expected.json.

Prints the table, writes it to formats.json with the files' SHA-256, and fails where ours is too far from llama.cpp's. With
--resume, what formats.json has of a file with the same SHA-256 isn't measured again.
"""

import argparse
import ctypes
import hashlib
import importlib.metadata
import json
import pathlib
import subprocess
import tempfile

import gguf
import numpy as np
from llama_cpp import llama_cpp as api

HERE = pathlib.Path(__file__).parent
RECORD = HERE / "formats.json"
# How far ours may be from llama.cpp's by the dequantised weights, as a part of it.
TOLERANCES = {"16-bit": 0.001, "mixed": 0.003, "8-bit": 0.005}
# Our name of a format, and llama.cpp's name of the kind of file that has it in all matrices. Q2_K and Q3_K are
# left out: with all matrices in them this model says nothing that makes sense.
FORMATS = {
    "F32": "LLAMA_FTYPE_ALL_F32",
    "F16": "LLAMA_FTYPE_MOSTLY_F16",
    "BF16": "LLAMA_FTYPE_MOSTLY_BF16",
    "Q8_0": "LLAMA_FTYPE_MOSTLY_Q8_0",
    "Q4_0": "LLAMA_FTYPE_MOSTLY_Q4_0",
    "Q4_1": "LLAMA_FTYPE_MOSTLY_Q4_1",
    "Q5_0": "LLAMA_FTYPE_MOSTLY_Q5_0",
    "Q5_1": "LLAMA_FTYPE_MOSTLY_Q5_1",
    "Q4_K": "LLAMA_FTYPE_MOSTLY_Q4_K_S",
    "Q5_K": "LLAMA_FTYPE_MOSTLY_Q5_K_S",
    "Q6_K": "LLAMA_FTYPE_MOSTLY_Q6_K",
    "IQ4_NL": "LLAMA_FTYPE_MOSTLY_IQ4_NL",
    "IQ4_XS": "LLAMA_FTYPE_MOSTLY_IQ4_XS",
}
WIDTH, HEADS, KV_HEADS, HEAD = 768, 12, 4, 64
# Rows and columns that a widened matrix has; None for those that it had.
WIDENED = {
    "token_embd": (None, WIDTH),
    "attn_q": (HEADS * HEAD, WIDTH),
    "attn_k": (KV_HEADS * HEAD, WIDTH),
    "attn_v": (KV_HEADS * HEAD, WIDTH),
    "attn_output": (WIDTH, HEADS * HEAD),
    "ffn_gate": (None, WIDTH),
    "ffn_up": (None, WIDTH),
    "ffn_down": (WIDTH, None),
}


def widen(source: str, target: str) -> None:
    """Writes the model in F32, widened."""
    reader = gguf.GGUFReader(source)
    old = reader.get_field("llama.embedding_length").contents()
    other = {
        "llama.embedding_length": WIDTH,
        "llama.attention.head_count": HEADS,
        "llama.attention.head_count_kv": KV_HEADS,
        # sum / 768 + e is (576 / 768) (sum / 576 + epsilon).
        "llama.attention.layer_norm_rms_epsilon":
            reader.get_field("llama.attention.layer_norm_rms_epsilon").contents() * old / WIDTH,
    }  # fmt: skip
    writer = gguf.GGUFWriter(target, "llama")
    for key, entry in reader.fields.items():
        if key.startswith("GGUF.") or key in ("general.architecture", "general.file_type"):
            continue
        array = entry.types[0] == gguf.GGUFValueType.ARRAY
        value = other.get(key, entry.contents())
        writer.add_key_value(key, value, entry.types[0], entry.types[-1] if array else None)
    for tensor in reader.tensors:
        values = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        part = tensor.name.split(".")[-2]
        if values.ndim == 1:
            values = np.pad(values * np.float32(np.sqrt(old / WIDTH)), (0, WIDTH - len(values)))
        else:
            shape = [new or had for new, had in zip(WIDENED[part], values.shape)]
            values = np.pad(values, [(0, new - had) for new, had in zip(shape, values.shape)])
        writer.add_tensor(tensor.name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def quantise(source: pathlib.Path, target: pathlib.Path, name: str) -> None:
    """llama.cpp's file of a format; every matrix has it. Also dequantises, to F32."""
    parameters = api.llama_model_quantize_default_params()
    parameters.nthread = 2
    parameters.ftype = getattr(api, FORMATS[name])
    parameters.pure = parameters.allow_requantize = True
    if api.llama_model_quantize(str(source).encode(), str(target).encode(), ctypes.byref(parameters)) != 0:
        raise SystemExit(f"llama.cpp can't make {name}")
    kinds = {tensor.tensor_type.name for tensor in gguf.GGUFReader(target).tensors if len(tensor.shape) == 2}
    if kinds != {name}:
        raise SystemExit(f"a file of {name} has matrices in {kinds}")


def llama_cpp_perplexity(path: pathlib.Path, windows: list[list[int]], threads: int) -> float:
    """e to the mean of -ln p over all tokens but the first of each window."""
    model = api.llama_model_load_from_file(str(path).encode(), api.llama_model_default_params())
    if not model:
        raise SystemExit(f"llama.cpp can't load {path}")
    vocabulary = api.llama_vocab_n_tokens(api.llama_model_get_vocab(model))
    parameters = api.llama_context_default_params()
    parameters.n_ctx = parameters.n_batch = parameters.n_ubatch = 512
    parameters.n_threads = parameters.n_threads_batch = threads
    parameters.flash_attn_type = 0
    context = api.llama_init_from_model(model, parameters)
    total, scored = 0.0, 0
    for tokens in windows:
        api.llama_memory_clear(api.llama_get_memory(context), True)
        batch = api.llama_batch_init(len(tokens), 0, 1)
        batch.n_tokens = len(tokens)
        for i, token in enumerate(tokens):
            batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.seq_id[i][0] = token, i, 1, 0
            batch.logits[i] = True
        if api.llama_decode(context, batch) != 0:
            raise SystemExit("llama.cpp can't evaluate a window")
        logits = np.ctypeslib.as_array(api.llama_get_logits(context), (len(tokens), vocabulary))
        logits = logits[:-1].astype(np.float64)
        top = logits.max(axis=-1)
        sums = top + np.log(np.exp(logits - top[:, None]).sum(axis=-1))
        total += float((sums - logits[np.arange(len(tokens) - 1), tokens[1:]]).sum())
        scored += len(tokens) - 1
        api.llama_batch_free(batch)
    api.llama_free(context)
    api.llama_model_free(model)
    return float(np.exp(total / scored))


def write(model: str, rows: dict) -> None:
    """formats.json."""
    facts = {
        "model_sha256": hashlib.sha256(pathlib.Path(model).read_bytes()).hexdigest(),
        "versions": {name: importlib.metadata.version(name) for name in ("gguf", "llama_cpp_python", "numpy")},
        "formats": rows,
    }
    RECORD.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--threads", type=int, default=2, help="of llama.cpp; 1 on a busy machine, as they wait for each other"
    )
    parser.add_argument("--resume", action="store_true", help="keep what formats.json has")
    parser.add_argument("model")
    parser.add_argument("ours", nargs=argparse.REMAINDER)
    arguments = parser.parse_args()
    expected = json.loads((HERE / "expected.json").read_text(encoding="utf-8"))
    tokens, window = expected["tokens"], expected["window"]
    windows = [tokens[i : i + window] for i in range(0, len(tokens), window)]
    kept = json.loads(RECORD.read_text(encoding="utf-8"))["formats"] if arguments.resume and RECORD.exists() else {}
    rows, failures = {}, []
    print(f"{'format':8} {'llama.cpp':>10} {'its weights in F32':>20} {'ours, 16 bits':>14} {'mixed':>9} {'8 bits':>9}")
    with tempfile.TemporaryDirectory() as folder:
        wide, path, plain = (pathlib.Path(folder) / f"{name}.gguf" for name in ("wide", "quantised", "plain"))
        widen(arguments.model, str(wide))
        for name in FORMATS:
            quantise(wide, path, name)
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            row = kept.get(name, {})
            if row.get("sha256") != digest:
                row = {"sha256": digest}
            if "llama_cpp" not in row:
                row["llama_cpp"] = llama_cpp_perplexity(path, windows, arguments.threads)
            if "llama_cpp_f32" not in row:
                quantise(path, plain, "F32")
                row["llama_cpp_f32"] = llama_cpp_perplexity(plain, windows, arguments.threads)
            for rounding, tolerance in TOLERANCES.items():
                key = f"ours_{rounding.removesuffix('-bit')}"
                if key not in row:
                    command = [*arguments.ours, str(HERE / "expected.json"), rounding, str(path)]
                    run = subprocess.run(command, check=True, capture_output=True, text=True)
                    row[key] = float(run.stdout)
                ours, theirs = row[key], row["llama_cpp_f32"]
                if not abs(ours / theirs - 1) <= tolerance:
                    failures.append(f"{name} rounded {rounding}: {ours} is too far from {theirs}")
            rows[name] = row
            write(arguments.model, rows)
            print(
                f"{name:8} {row['llama_cpp']:10.4f} {row['llama_cpp_f32']:20.4f} {row['ours_16']:14.4f}"
                f" {row['ours_mixed']:9.4f} {row['ours_8']:9.4f}",
                flush=True,
            )
    if failures:
        raise SystemExit("\n".join(failures))


if __name__ == "__main__":
    main()
