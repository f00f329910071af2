"""Writes the golden vectors of the tensor formats: for each format NAME, NAME.blocks (random valid blocks) and
NAME.f32 (their values, little-endian f32), with the `gguf` Python package's numpy dequantisation.

Each vector is also dequantised by ggml's C code (from the llama-cpp-python package). That library may be built with
fused multiply-add, which rounds once where numpy rounds twice, so the two are compared to 1e-6 of the block's range;
the script fails where they differ by more.

    python golden/formats/make.py        # needs: gguf, numpy, llama-cpp-python
"""

import ctypes
import pathlib

import gguf
import llama_cpp
import numpy as np

HERE = pathlib.Path(__file__).parent
BLOCKS = 6
# Byte offsets of the f16 fields in a block, and of nothing else that could make a value infinite.
HALF_FIELDS = {
    "F32": [], "F16": [0], "BF16": [], "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0],
    "Q2_K": [80, 82], "Q3_K": [108], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208], "IQ4_NL": [0], "IQ4_XS": [0],
}  # fmt: skip
# Ordinary scales, both signs, zero, the largest, and a subnormal.
HALVES = [0.0123, -0.37, 0.0, 65504.0, 5.96e-8, 1.75]


def blocks(name: str, kind: gguf.GGMLQuantizationType, random: np.random.Generator) -> np.ndarray:
    """Random blocks, [BLOCKS, block_bytes]."""
    block_len, block_bytes = gguf.GGML_QUANT_SIZES[kind]
    if name in ("F32", "F16", "BF16"):
        values = np.concatenate([random.standard_normal(60), [0.0, -0.0, 65504.0, 5.96e-8]]).astype(np.float32)
        if name == "F32":
            return values.view(np.uint8).reshape(-1, 4)
        if name == "F16":
            return values.astype(np.float16).view(np.uint8).reshape(-1, 2)
        return (values.view(np.uint32) >> 16).astype(np.uint16).view(np.uint8).reshape(-1, 2)
    raw = random.integers(0, 256, size=(BLOCKS, block_bytes), dtype=np.uint8)
    for place, offset in enumerate(HALF_FIELDS[name]):
        halves = np.roll(np.array(HALVES, dtype=np.float16), place)
        raw[:, offset : offset + 2] = halves.view(np.uint8).reshape(-1, 2)
    return raw


class TypeTraits(ctypes.Structure):
    """The head of ggml's `struct ggml_type_traits`."""

    _fields_ = [
        ("type_name", ctypes.c_char_p),
        ("blck_size", ctypes.c_int64),
        ("blck_size_interleave", ctypes.c_int64),
        ("type_size", ctypes.c_size_t),
        ("is_quantized", ctypes.c_bool),
        ("to_float", ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)),
    ]


def ggml_values(kind: gguf.GGMLQuantizationType, raw: np.ndarray, count: int) -> np.ndarray:
    """The values by ggml's C code."""
    library = ctypes.CDLL(str(next((pathlib.Path(llama_cpp.__file__).parent / "lib").glob("libggml-base.so*"))))
    library.ggml_get_type_traits.restype = ctypes.POINTER(TypeTraits)
    traits = library.ggml_get_type_traits(int(kind)).contents
    out = np.empty(count, dtype=np.float32)
    raw = np.ascontiguousarray(raw)
    traits.to_float(raw.ctypes.data, out.ctypes.data, count)
    return out


def main() -> None:
    random = np.random.default_rng(20250120)
    for name in HALF_FIELDS:
        kind = gguf.GGMLQuantizationType[name]
        raw = blocks(name, kind, random)
        values = gguf.quants.dequantize(raw, kind).astype(np.float32).reshape(-1)
        if name != "F32":  # F32 has no conversion in ggml
            theirs = ggml_values(kind, raw, values.size)
            block_len = gguf.GGML_QUANT_SIZES[kind][0]
            spread = np.abs(values.reshape(-1, block_len)).max(axis=1, keepdims=True)
            worst = (np.abs(theirs - values).reshape(-1, block_len) / np.maximum(spread, 1e-30)).max()
            assert worst < 1e-6, f"{name}: numpy and ggml differ by {worst}"
            print(f"{name}: {values.size} values, numpy and ggml differ by at most {worst:.1e} of the block's range")
        assert np.isfinite(values).all(), name
        (HERE / f"{name}.blocks").write_bytes(raw.tobytes())
        (HERE / f"{name}.f32").write_bytes(values.astype("<f4").tobytes())


if __name__ == "__main__":
    main()
