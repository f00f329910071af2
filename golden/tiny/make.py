"""Writes small random-weight models as GGUF, and their logits by the transformers library in f32.

    python golden/tiny/make.py        # needs: golden/requirements.txt

For each model NAME.gguf and NAME.logits: little-endian f32, [2, KEPT, vocabulary], the logits at the odd positions of
the tokens in tokens.json: first as the library computes them, then with keys and values rounded to f16, which is how
the program's cache keeps them. Against the second only the order of sums is left as a difference, so it can be held to
much less. models.json lists the models with what is particular about each, with the difference between the two
(`f16_cache`), and with the difference that a rotation by the plain frequencies makes where a model's are scaled
(`plain_rope`): the least mistake of that kind is far above what is allowed.
"""

import dataclasses
import importlib.metadata
import json
import math
import pathlib
import sys
from dataclasses import dataclass, field

import gguf
import numpy as np
import torch
import transformers

HERE = pathlib.Path(__file__).parent
TOKENS = 40
KEPT = slice(1, TOKENS, 2)
# Standard deviation of a matrix product of ones: wide enough that attention isn't flat.
SPREAD = 0.9
# Byte-level BPE writes each byte as a printable character; the merges make a few words out of them.
MERGES = ["h e", "l l", "he ll", "hell o", "Ġ w", "o r", "Ġw or", "l d", "Ġwor ld", "t h", "th e", "Ġ the"]
SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|unused|>"]
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@dataclass
class Tiny:
    """One model: what the transformers config takes, and how the file differs from plain F32."""

    name: str
    architecture: str
    about: str
    config: dict
    rope: dict = field(default_factory=dict)
    format: gguf.GGMLQuantizationType = gguf.GGMLQuantizationType.F32
    # Largest difference from the reference, over the largest logit of the position.
    tolerance: float = 1e-3
    # The same, from the reference whose keys and values are f16.
    tolerance_f16_cache: float = 2e-4


def sizes(hidden, heads, kv_heads, head_dim, ffn, layers, tied, base=10000.0) -> dict:
    """The part of a transformers config that all three families share."""
    return {
        "hidden_size": hidden,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "head_dim": head_dim,
        "intermediate_size": ffn,
        "num_hidden_layers": layers,
        "tie_word_embeddings": tied,
        "rope_theta": base,
    }


LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 32}  # fmt: skip
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}
MODELS = [
    Tiny("llama-tied", "llama", "head 16, two query heads to a key head", sizes(32, 4, 2, 16, 40, 2, True)),
    Tiny("llama-untied-head80", "llama", "head 80, heads wider than the stream, untied head",
         sizes(24, 2, 1, 80, 40, 1, False, 500000.0)),
    Tiny("llama3-rope", "llama", "frequencies divided by rope_freqs.weight, one key head",
         sizes(36, 3, 1, 16, 44, 2, True, 10000.0), rope=LLAMA3),
    Tiny("llama-linear-rope", "llama", "positions divided by 4, no grouping of heads",
         sizes(36, 2, 2, 18, 44, 2, True), rope={"rope_type": "linear", "factor": 4.0}),
    Tiny("qwen2-tied", "qwen2", "biases, 7 query heads to one key head", sizes(42, 7, 1, 6, 40, 2, True, 1000000.0)),
    Tiny("qwen2-untied", "qwen2", "biases, head 20, untied head", sizes(32, 2, 1, 20, 50, 1, False)),
    Tiny("qwen2-yarn", "qwen2", "biases, YaRN 4", sizes(32, 2, 2, 16, 48, 2, True), rope=YARN),
    Tiny("qwen3-tied", "qwen3", "norms of heads, heads wider than the stream", sizes(24, 4, 2, 16, 40, 2, True, 1000000.0)),
    Tiny("qwen3-untied-head80", "qwen3", "norms of heads, head 80, untied head", sizes(24, 2, 1, 80, 40, 1, False)),
    Tiny("qwen3-yarn", "qwen3", "norms of heads, YaRN 4", sizes(24, 4, 1, 16, 40, 2, True), rope=YARN),
    Tiny("llama-f16", "llama", "matrices in F16", sizes(48, 3, 1, 16, 56, 2, True),
         format=gguf.GGMLQuantizationType.F16),
    Tiny("qwen2-bf16", "qwen2", "matrices in BF16", sizes(48, 3, 1, 16, 56, 2, True),
         format=gguf.GGMLQuantizationType.BF16),
    Tiny("qwen3-q8_0", "qwen3", "matrices in Q8_0",
         sizes(64, 4, 2, 32, 96, 2, True), format=gguf.GGMLQuantizationType.Q8_0,
         tolerance_f16_cache=5e-4),  # The program's activations have 16 bits here.
]  # fmt: skip
CLASSES = {
    "llama": (transformers.LlamaConfig, transformers.LlamaForCausalLM),
    "qwen2": (transformers.Qwen2Config, transformers.Qwen2ForCausalLM),
    "qwen3": (transformers.Qwen3Config, transformers.Qwen3ForCausalLM),
}
ARCHITECTURES = {
    "llama": gguf.MODEL_ARCH.LLAMA,
    "qwen2": gguf.MODEL_ARCH.QWEN2,
    "qwen3": gguf.MODEL_ARCH.QWEN3,
}


def byte_characters() -> list[str]:
    """The printable character that stands for each byte in a gpt2-type vocabulary."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = iter(range(256, 512))
    return [chr(byte) if byte in printable else chr(next(others)) for byte in range(256)]


def vocabulary() -> list[str]:
    """Bytes, what the merges make, specials."""
    return byte_characters() + [merge.replace(" ", "") for merge in MERGES] + SPECIALS


def build(tiny: Tiny, seed: int):
    """The transformers model, its weights drawn from `seed` and rounded to the file's format."""
    config_class, model_class = CLASSES[tiny.architecture]
    settings = dict(tiny.config)
    rope = {"rope_type": "default", **tiny.rope, "rope_theta": settings.pop("rope_theta")}
    config = config_class(
        vocab_size=len(vocabulary()), max_position_embeddings=256, rms_norm_eps=1e-5, rope_parameters=rope,
        attn_implementation="eager", use_cache=False, **settings,
    )  # fmt: skip
    model = model_class(config).to(torch.float32).eval()
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=random)
            if name.endswith("norm.weight"):
                parameter.copy_(1 + 0.2 * noise)
            elif name.endswith("bias"):
                parameter.copy_(0.3 * noise)
            elif "embed" in name or "lm_head" in name:
                parameter.copy_(stored(noise * 0.5, tiny.format))
            else:
                parameter.copy_(stored(noise * SPREAD / math.sqrt(parameter.shape[1]), tiny.format))
    return config, model


def stored(values: torch.Tensor, kind: gguf.GGMLQuantizationType) -> torch.Tensor:
    """What is left of a matrix once stored in a format."""
    return torch.from_numpy(gguf.quants.dequantize(gguf.quants.quantize(values.numpy(), kind), kind).copy())


def permute(weight: np.ndarray, heads: int) -> np.ndarray:
    """Rows of Q or K in the order of `llama` files: neighbouring pairs, where the library has the two halves."""
    rows, columns = weight.shape
    return weight.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)


def llama3_factors(rope: dict, base: float, head_dim: int) -> np.ndarray:
    """What Llama 3.1 divides each frequency by: 1 for short waves, the factor for long ones, a ramp between."""
    factor, original = rope["factor"], rope["original_max_position_embeddings"]
    low, high = rope["low_freq_factor"], rope["high_freq_factor"]
    factors = []
    for i in range(0, head_dim, 2):
        turns = original * base ** (-i / head_dim) / (2 * math.pi)
        share = min(max((turns - low) / (high - low), 0.0), 1.0)
        factors.append(1 / ((1 - share) / factor + share))
    return np.array(factors, dtype=np.float32)


def tensor_name(name: str) -> str:
    """A parameter's name in GGUF."""
    parts = {
        "input_layernorm": "attn_norm",
        "post_attention_layernorm": "ffn_norm",
        "q_proj": "attn_q",
        "k_proj": "attn_k",
        "v_proj": "attn_v",
        "o_proj": "attn_output",
        "q_norm": "attn_q_norm",
        "k_norm": "attn_k_norm",
        "gate_proj": "ffn_gate",
        "up_proj": "ffn_up",
        "down_proj": "ffn_down",
    }
    pieces = name.split(".")
    if pieces[0] == "lm_head":
        return "output.weight"
    if pieces[1] != "layers":
        return {"embed_tokens": "token_embd.weight", "norm": "output_norm.weight"}[pieces[1]]
    return f"blk.{pieces[2]}.{parts[pieces[-2]]}.{pieces[-1]}"


def write(tiny: Tiny, config, model) -> None:
    """The GGUF file, under the keys and names that converters write."""
    architecture = tiny.architecture
    writer = gguf.GGUFWriter(HERE / f"{tiny.name}.gguf", gguf.MODEL_ARCH_NAMES[ARCHITECTURES[architecture]])
    settings = tiny.config
    writer.add_name(tiny.name)
    writer.add_vocab_size(config.vocab_size)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(settings["hidden_size"])
    writer.add_block_count(settings["num_hidden_layers"])
    writer.add_feed_forward_length(settings["intermediate_size"])
    writer.add_head_count(settings["num_attention_heads"])
    writer.add_head_count_kv(settings["num_key_value_heads"])
    writer.add_key_length(settings["head_dim"])
    writer.add_value_length(settings["head_dim"])
    writer.add_rope_dimension_count(settings["head_dim"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(settings["rope_theta"])
    if tiny.rope.get("rope_type") == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(tiny.rope["factor"])
    if tiny.rope.get("rope_type") == "yarn":
        writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        writer.add_rope_scaling_factor(tiny.rope["factor"])
        writer.add_rope_scaling_orig_ctx_len(tiny.rope["original_max_position_embeddings"])
    write_tokenizer(writer, "llama-bpe" if architecture == "llama" else "qwen2")

    plain = gguf.GGMLQuantizationType.F32
    if tiny.rope.get("rope_type") == "llama3":
        factors = llama3_factors(tiny.rope, settings["rope_theta"], settings["head_dim"])
        writer.add_tensor("rope_freqs.weight", factors)
    for name, parameter in model.named_parameters():
        values = parameter.detach().numpy()
        if architecture == "llama" and ("q_proj" in name or "k_proj" in name):
            heads = settings["num_attention_heads" if "q_proj" in name else "num_key_value_heads"]
            values = permute(values, heads)
        kind = tiny.format if values.ndim == 2 else plain
        values = np.ascontiguousarray(values)
        data = values if kind == plain else gguf.quants.quantize(values, kind)
        writer.add_tensor(tensor_name(name), data, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_tokenizer(writer: gguf.GGUFWriter, pre: str) -> None:
    """A byte-level vocabulary that any text can be written with."""
    words = vocabulary()
    plain = len(words) - len(SPECIALS)
    normal, control = gguf.TokenType.NORMAL, gguf.TokenType.CONTROL
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(words)
    writer.add_token_types([normal] * plain + [control] * len(SPECIALS))
    writer.add_token_merges(MERGES)
    writer.add_bos_token_id(words.index("<|endoftext|>"))
    writer.add_eos_token_id(words.index("<|im_end|>"))
    writer.add_add_bos_token(False)
    writer.add_chat_template(CHAT_TEMPLATE)


def run(model, tokens: list[int], f16_cache: bool) -> np.ndarray:
    """Logits at every position, [TOKENS, vocabulary]."""
    modeling = sys.modules[type(model).__module__]
    attention = modeling.eager_attention_forward

    def rounded(module, query, key, value, *rest, **named):
        return attention(module, query, key.half().float(), value.half().float(), *rest, **named)

    if f16_cache:
        modeling.eager_attention_forward = rounded
    try:
        with torch.inference_mode():
            return model(torch.tensor([tokens])).logits[0].numpy()
    finally:
        modeling.eager_attention_forward = attention


def relative_error(given: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference at any position, over the largest logit of that position."""
    return float((np.abs(given - expected).max(axis=-1) / np.abs(expected).max(axis=-1)).max())


def main() -> None:
    torch.set_num_threads(1)
    tokens = np.random.default_rng(7).integers(0, len(vocabulary()), TOKENS).tolist()
    listing = []
    for seed, tiny in enumerate(MODELS, start=1):
        config, model = build(tiny, seed)
        write(tiny, config, model)
        exact, rounded = run(model, tokens, f16_cache=False), run(model, tokens, f16_cache=True)
        (HERE / f"{tiny.name}.logits").write_bytes(np.stack([exact[KEPT], rounded[KEPT]]).astype("<f4").tobytes())
        entry = {
            "name": tiny.name,
            "about": tiny.about,
            "tolerance": tiny.tolerance,
            "tolerance_f16_cache": tiny.tolerance_f16_cache,
            "f16_cache": float(f"{relative_error(rounded, exact):.2g}"),
        }
        if tiny.rope:
            _, plain = build(dataclasses.replace(tiny, rope={}), seed)
            entry["plain_rope"] = float(f"{relative_error(run(plain, tokens, f16_cache=False), exact):.2g}")
        print(f"{(HERE / f'{tiny.name}.gguf').stat().st_size:7} bytes, largest logit {np.abs(exact).max():.1f}", entry)
        listing.append(entry)
    versions = {name: importlib.metadata.version(name) for name in ("transformers", "torch", "gguf")}
    (HERE / "tokens.json").write_text(json.dumps(tokens) + "\n")
    text = ",\n  ".join(json.dumps(entry) for entry in listing)
    (HERE / "models.json").write_text(f'{{"versions": {json.dumps(versions)}, "models": [\n  {text}\n]}}\n')


if __name__ == "__main__":
    main()
