"""Writes the perplexity of SmolLM2-135M-Instruct Q4_1 over text.txt by an exact forward pass.

    python golden/perplexity/make.py MODEL.gguf     # needs: gguf, numpy and tokenizers of golden/requirements.txt

The text is cut into windows of 512 tokens, each read without what came before; every token of a window but its first is
scored. Perplexity is e to the mean of -ln p over all scored tokens. The weights are dequantised (gguf package) and the
forward pass below is numpy, f64 throughout; on the prompts of golden/logits it is within 3e-5 of the logits of the
transformers library in f32.

expected.json has the token ids (by the tokenizers library), the perplexity, and for each window the sum of -ln p.
`crates/models/tests/golden/perplexity.rs` reads it.

text.txt: chapters XII and XIII of "Around the World in Eighty Days" by Jules Verne in the translation by George
Makepeace Towle (1873), in the public domain everywhere; from Project Gutenberg's text 103 as the crate esaxx-rs 0.1.10
has it (data/eighty.txt), each paragraph put on one line and double spaces made single.
"""

import argparse
import hashlib
import importlib.metadata
import json
import pathlib

import gguf
import numpy as np
import tokenizers

HERE = pathlib.Path(__file__).parent
WINDOW = 512


class Forward:
    """A llama with tied embeddings, as its paper has it, in f64."""

    def __init__(self, path: str):
        reader = gguf.GGUFReader(path)
        value = lambda key: reader.get_field(f"llama.{key}").contents()  # noqa: E731
        self.heads, self.kv_heads = value("attention.head_count"), value("attention.head_count_kv")
        self.layers, self.epsilon = value("block_count"), value("attention.layer_norm_rms_epsilon")
        self.base = value("rope.freq_base")
        self.weights = {
            tensor.name: gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float64)
            for tensor in reader.tensors
        }

    def norm(self, x: np.ndarray, name: str) -> np.ndarray:
        return x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + self.epsilon) * self.weights[f"{name}.weight"]

    def rotate(self, x: np.ndarray) -> np.ndarray:
        """Neighbouring pairs of each head, [heads, tokens, width], by position * base^(-2 pair / width)."""
        tokens, width = x.shape[1:]
        angles = np.arange(tokens)[:, None] * self.base ** (-np.arange(0, width, 2) / width)
        pairs = (x[..., 0::2] + 1j * x[..., 1::2]) * np.exp(1j * angles)
        return np.stack([pairs.real, pairs.imag], axis=-1).reshape(x.shape)

    def attention(self, x: np.ndarray, layer: int) -> np.ndarray:
        tokens = len(x)

        def heads(part: str, count: int) -> np.ndarray:
            return (x @ self.weights[f"blk.{layer}.attn_{part}.weight"].T).reshape(tokens, count, -1).swapaxes(0, 1)

        q, k = self.rotate(heads("q", self.heads)), self.rotate(heads("k", self.kv_heads))
        v, group = heads("v", self.kv_heads), self.heads // self.kv_heads
        scores = q @ np.repeat(k, group, axis=0).swapaxes(1, 2) / np.sqrt(q.shape[-1])
        scores[:, np.triu(np.ones((tokens, tokens), dtype=bool), 1)] = -np.inf
        powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
        mixed = powers / powers.sum(axis=-1, keepdims=True) @ np.repeat(v, group, axis=0)
        return mixed.swapaxes(0, 1).reshape(tokens, -1) @ self.weights[f"blk.{layer}.attn_output.weight"].T

    def feed_forward(self, x: np.ndarray, layer: int) -> np.ndarray:
        gate, up, down = (self.weights[f"blk.{layer}.ffn_{part}.weight"] for part in ("gate", "up", "down"))
        gated = x @ gate.T
        return (gated / (1 + np.exp(-gated)) * (x @ up.T)) @ down.T

    def logits(self, tokens: list[int]) -> np.ndarray:
        """At every position, [tokens, vocabulary]."""
        x = self.weights["token_embd.weight"][tokens]
        for layer in range(self.layers):
            x = x + self.attention(self.norm(x, f"blk.{layer}.attn_norm"), layer)
            x = x + self.feed_forward(self.norm(x, f"blk.{layer}.ffn_norm"), layer)
        return self.norm(x, "output_norm") @ self.weights["token_embd.weight"].T


def surprise(logits: np.ndarray, tokens: list[int]) -> float:
    """The sum of -ln p over all tokens but the first."""
    logits = logits[:-1].astype(np.float64)
    top = logits.max(axis=-1)
    sums = top + np.log(np.exp(logits - top[:, None]).sum(axis=-1))
    return float((sums - logits[np.arange(len(tokens) - 1), tokens[1:]]).sum())


def tokenize(path: str, text: str) -> list[int]:
    """By the tokenizers library, with the file's vocabulary and the pre-tokenizer of SmolLM2's tokenizer.json."""
    reader = gguf.GGUFReader(path)
    value = lambda key: reader.get_field(f"tokenizer.ggml.{key}").contents()  # noqa: E731
    vocabulary = {token: index for index, token in enumerate(value("tokens"))}
    merges = [tuple(merge.split(" ")) for merge in value("merges")]
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Sequence([
        tokenizers.pre_tokenizers.Digits(individual_digits=True),
        tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
    ])
    return tokenizer.encode(text).ids


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    path = parser.parse_args().model
    tokens = tokenize(path, (HERE / "text.txt").read_text(encoding="utf-8"))
    windows = [tokens[i : i + WINDOW] for i in range(0, len(tokens), WINDOW)]
    forward = Forward(path)
    sums = [surprise(forward.logits(window), window) for window in windows]
    perplexity = float(np.exp(sum(sums) / (len(tokens) - len(windows))))
    print(f"{len(tokens)} tokens, perplexity {perplexity}")
    facts = {
        "model": pathlib.Path(path).name,
        "model_sha256": hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest(),
        "versions": {name: importlib.metadata.version(name) for name in ("gguf", "numpy", "tokenizers")},
        "window": WINDOW,
        "perplexity": perplexity,
        "surprise_by_window": sums,
        "tokens": tokens,
    }
    (HERE / "expected.json").write_text(json.dumps(facts) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
