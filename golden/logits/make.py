"""Writes the golden logits of SmolLM2-135M-Instruct Q4_1 for the ten prompts of prompts.py.

    python golden/logits/make.py MODEL.gguf     # needs: golden/requirements.txt

Three references, over the same token ids:
- `float32`: the weights dequantised (gguf package) into the transformers library's LlamaForCausalLM, all in f32.
- `llama_cpp`: llama.cpp, flash attention off, f16 KV cache, 2 threads. It quantises activations to 8 bits.
- `llama_cpp_f32`: the same with the weights dequantised to an F32 file, where it keeps activations in f32.

Files (little-endian; `crates/models/tests/golden.rs` reads them):
- prompts.json: name, text and token ids of each prompt.
- float32.bin, llama_cpp.bin, llama_cpp_f32.bin: for each position of each prompt in turn, a record of 388 bytes: f32 logsumexp over the
  whole vocabulary, 64 x u16 ids of the largest logits, largest first, 64 x f32 logits of those ids.
- record.json: versions, the model's SHA-256, and how llama.cpp differs from the f32 forward (see `compare`).
"""

import argparse
import hashlib
import importlib.metadata
import json
import pathlib
import platform
import tempfile

import gguf
import llama_cpp
import numpy as np
import torch
import transformers
from prompts import PROMPTS

HERE = pathlib.Path(__file__).parent
KEPT = 64


def tokenize(model: llama_cpp.Llama) -> list[dict]:
    """The prompts with their ids, by llama.cpp's tokenizer."""
    prompts = []
    for name, text, kept in PROMPTS:
        ids = model.tokenize(text.encode(), add_bos=False, special=True)
        if kept is not None and len(ids) < kept:
            raise SystemExit(f"{name}: the text has {len(ids)} tokens, {kept} are wanted")
        ids = ids[:kept]
        prompts.append({"name": name, "text": text, "tokens": ids})
    return prompts


def peer(path: str) -> llama_cpp.Llama:
    """llama.cpp with that file."""
    return llama_cpp.Llama(
        path, n_ctx=1024, n_batch=512, n_ubatch=512, n_threads=2, n_threads_batch=2, logits_all=True,
        flash_attn=False, verbose=False,
    )  # fmt: skip


def write_dequantised(source: str, target: str) -> None:
    """The same GGUF file with every tensor in F32."""
    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(target, "llama")
    for key, entry in reader.fields.items():
        if key.startswith("GGUF.") or key in ("general.architecture", "general.file_type"):
            continue
        array = entry.types[0] == gguf.GGUFValueType.ARRAY
        writer.add_key_value(key, entry.contents(), entry.types[0], entry.types[-1] if array else None)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, gguf.quants.dequantize(tensor.data, tensor.tensor_type))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def llama_cpp_logits(model: llama_cpp.Llama, tokens: list[int]) -> np.ndarray:
    """Logits at every position, [tokens, vocabulary]."""
    model.reset()
    model.eval(tokens)
    return model.scores[: len(tokens)].copy()


def unpermute(weight: np.ndarray, heads: int) -> np.ndarray:
    """Rows of a `llama` Q or K in the transformers library's order: the two halves of a head, not neighbouring pairs."""
    rows, columns = weight.shape
    return weight.reshape(heads, rows // heads // 2, 2, columns).swapaxes(1, 2).reshape(rows, columns)


def float32_model(path: str) -> transformers.LlamaForCausalLM:
    """The GGUF's weights, dequantised, in the transformers library's model."""
    reader = gguf.GGUFReader(path)
    value = lambda key: reader.get_field(f"llama.{key}").contents()  # noqa: E731
    heads, kv_heads = value("attention.head_count"), value("attention.head_count_kv")
    config = transformers.LlamaConfig(
        vocab_size=value("vocab_size"),
        hidden_size=value("embedding_length"),
        intermediate_size=value("feed_forward_length"),
        num_hidden_layers=value("block_count"),
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        max_position_embeddings=value("context_length"),
        rms_norm_eps=value("attention.layer_norm_rms_epsilon"),
        rope_parameters={"rope_type": "default", "rope_theta": value("rope.freq_base")},
        tie_word_embeddings=True,
        attn_implementation="eager",
    )
    names = {
        "attn_norm": "input_layernorm",
        "attn_q": "self_attn.q_proj",
        "attn_k": "self_attn.k_proj",
        "attn_v": "self_attn.v_proj",
        "attn_output": "self_attn.o_proj",
        "ffn_norm": "post_attention_layernorm",
        "ffn_gate": "mlp.gate_proj",
        "ffn_up": "mlp.up_proj",
        "ffn_down": "mlp.down_proj",
    }
    state = {}
    for tensor in reader.tensors:
        values = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        if tensor.name == "token_embd.weight":
            state["model.embed_tokens.weight"] = state["lm_head.weight"] = torch.from_numpy(values.copy())
            continue
        if tensor.name == "output_norm.weight":
            state["model.norm.weight"] = torch.from_numpy(values.copy())
            continue
        _, layer, part, _ = tensor.name.split(".")
        if part == "attn_q":
            values = unpermute(values, heads)
        if part == "attn_k":
            values = unpermute(values, kv_heads)
        state[f"model.layers.{layer}.{names[part]}.weight"] = torch.from_numpy(values.copy())
    model = transformers.LlamaForCausalLM(config).to(torch.float32).eval()
    model.load_state_dict(state, strict=True)
    return model


def float32_logits(model: transformers.LlamaForCausalLM, tokens: list[int]) -> np.ndarray:
    """Logits at every position, [tokens, vocabulary]."""
    with torch.inference_mode():
        return model(torch.tensor([tokens])).logits[0].numpy()


def log_sum_exp(logits: np.ndarray) -> np.ndarray:
    """Over the last axis, in f64."""
    wide = logits.astype(np.float64)
    top = wide.max(axis=-1, keepdims=True)
    return (top + np.log(np.exp(wide - top).sum(axis=-1, keepdims=True)))[..., 0]


def record(logits: np.ndarray) -> bytes:
    """The records of one prompt's positions."""
    ids = np.argsort(-logits, axis=-1, kind="stable")[:, :KEPT]
    values = np.take_along_axis(logits, ids, axis=-1)
    sums = log_sum_exp(logits)
    return b"".join(
        np.float32(total).tobytes() + row.astype("<u2").tobytes() + kept.astype("<f4").tobytes()
        for total, row, kept in zip(sums, ids, values)
    )


def divergence(p_logits: np.ndarray, q_logits: np.ndarray) -> np.ndarray:
    """KL(p || q) at each position over the whole vocabulary, in nats."""
    p = p_logits.astype(np.float64) - log_sum_exp(p_logits)[:, None]
    q = q_logits.astype(np.float64) - log_sum_exp(q_logits)[:, None]
    return (np.exp(p) * (p - q)).sum(axis=-1)


def bucketed_divergence(p_logits: np.ndarray, q_logits: np.ndarray) -> np.ndarray:
    """As `divergence`, over the 64 likeliest tokens of p and one bucket for the rest: what the Rust test computes."""
    ids = np.argsort(-p_logits, axis=-1, kind="stable")[:, :KEPT]
    p = np.exp(np.take_along_axis(p_logits.astype(np.float64) - log_sum_exp(p_logits)[:, None], ids, axis=-1))
    q = np.exp(np.take_along_axis(q_logits.astype(np.float64) - log_sum_exp(q_logits)[:, None], ids, axis=-1))
    p_rest, q_rest = np.maximum(1 - p.sum(axis=-1), 1e-12), np.maximum(1 - q.sum(axis=-1), 1e-12)
    return (p * np.log(p / q)).sum(axis=-1) + p_rest * np.log(p_rest / q_rest)


def margins(logits: np.ndarray) -> np.ndarray:
    """Largest logit less the second."""
    top = np.partition(logits, -2, axis=-1)[:, -2:]
    return top[:, 1] - top[:, 0]


def compare(a: list[np.ndarray], b: list[np.ndarray], names: list[str]) -> dict:
    """How llama.cpp (a) differs from the f32 forward (b).

    `margin_noise` is the widest margin of (b) at which (a) has another first token, `margin_noise_llama_cpp` the widest
    of (a): a test can ask for equal first tokens only past that.
    """
    all_a, all_b = np.concatenate(a), np.concatenate(b)
    margin_a, margin_b = margins(all_a), margins(all_b)
    differs = all_a.argmax(axis=-1) != all_b.argmax(axis=-1)
    steps = [0.0, 0.05, 0.1, 0.2, 0.4, 0.8, np.inf]
    by_margin = []
    for low, high in zip(steps, steps[1:]):
        here = (margin_b >= low) & (margin_b < high)
        counts = {"positions": int(here.sum()), "first_token_differs": int((here & differs).sum())}
        by_margin.append({"margin_from": low, **counts})
    centred = all_a - all_b
    centred = centred - centred.mean(axis=-1, keepdims=True)
    return {
        "positions": len(all_a),
        "kl_from_float32": statistics(divergence(all_b, all_a)),
        "kl_to_float32": statistics(divergence(all_a, all_b)),
        "kl_to_float32_top64_and_rest": statistics(bucketed_divergence(all_a, all_b)),
        "kl_to_float32_top64_and_rest_mean_by_prompt": {
            name: float(bucketed_divergence(x, y).mean()) for name, x, y in zip(names, a, b)
        },
        "logit_difference_rms": float(np.sqrt((centred**2).mean())),
        "first_token_differs": int(differs.sum()),
        "first_token_by_margin": by_margin,
        "margin_noise": float(margin_b[differs].max(initial=0.0)),
        "margin_noise_llama_cpp": float(margin_a[differs].max(initial=0.0)),
    }


def statistics(values: np.ndarray) -> dict:
    """Mean, median, 99th percentile and largest."""
    return {
        "mean": float(values.mean()),
        "median": float(np.median(values)),
        "p99": float(np.quantile(values, 0.99)),
        "max": float(values.max()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    path = parser.parse_args().model
    torch.set_num_threads(2)

    quantised = peer(path)
    prompts = tokenize(quantised)
    logits = {"llama_cpp": [llama_cpp_logits(quantised, prompt["tokens"]) for prompt in prompts]}
    with tempfile.TemporaryDirectory() as folder:
        write_dequantised(path, f"{folder}/f32.gguf")
        wide = peer(f"{folder}/f32.gguf")
        logits["llama_cpp_f32"] = [llama_cpp_logits(wide, prompt["tokens"]) for prompt in prompts]
    model = float32_model(path)
    logits["float32"] = [float32_logits(model, prompt["tokens"]) for prompt in prompts]

    for name, by_prompt in logits.items():
        (HERE / f"{name}.bin").write_bytes(b"".join(record(rows) for rows in by_prompt))
    names = [prompt["name"] for prompt in prompts]
    differences = {name: compare(logits[name], logits["float32"], names) for name in ("llama_cpp", "llama_cpp_f32")}
    lines = ",\n".join(json.dumps(prompt, ensure_ascii=False) for prompt in prompts)
    (HERE / "prompts.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    facts = {
        "model": pathlib.Path(path).name,
        "model_sha256": hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest(),
        "kept": KEPT,
        "llama_cpp": "flash attention off, f16 KV cache, n_batch = n_ubatch = 512, 2 threads",
        "llama_cpp_f32": "the same, over the dequantised weights",
        "float32": "transformers LlamaForCausalLM, eager attention, f32 throughout",
        "versions": {
            name: importlib.metadata.version(name)
            for name in ("llama_cpp_python", "gguf", "torch", "transformers", "numpy")
        },
        "system": llama_cpp.llama_print_system_info().decode().strip(),
        "python": platform.python_version(),
        "lengths": {prompt["name"]: len(prompt["tokens"]) for prompt in prompts},
        "difference": differences,
    }
    (HERE / "record.json").write_text(json.dumps(facts, indent=2) + "\n")
    print(json.dumps(differences, indent=2))


if __name__ == "__main__":
    main()
