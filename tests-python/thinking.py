"""A reasoning model for the tests: SmolLM2's weights with a chat template that opens the thought, as R1's does.

It thinks no better than it speaks, but it is asked, split, cut and answered for as any model that thinks.

    python thinking.py SMOLLM2.gguf THINKER.gguf
"""

import pathlib
import sys

import gguf

TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}"
    "{{ '<|im_start|>assistant\\n<think>\\n' }}"
    "{% if enable_thinking is defined and enable_thinking is false %}{{ '\\n</think>\\n\\n' }}{% endif %}"
    "{% endif %}"
)


def write(source: pathlib.Path, target: pathlib.Path) -> pathlib.Path:
    """Copies a GGUF file, with the template in place of its own."""
    reader = gguf.GGUFReader(source)
    architecture = reader.fields["general.architecture"].contents()
    writer = gguf.GGUFWriter(target, architecture)
    for field in reader.fields.values():
        if field.name == "general.architecture" or field.name.startswith("GGUF."):
            continue
        kind = field.types[0]
        value = TEMPLATE if field.name == "tokenizer.chat_template" else field.contents()
        writer.add_key_value(field.name, value, kind, field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None)
    for tensor in reader.tensors:
        shape = tensor.data.shape
        writer.add_tensor_info(tensor.name, shape, tensor.data.dtype, tensor.data.nbytes, tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for tensor in reader.tensors:
        writer.write_tensor_data(tensor.data)
    writer.close()
    return target


if __name__ == "__main__":
    source, target = map(pathlib.Path, sys.argv[1:])
    # Whole or not at all: a run that is cut short leaves nothing that looks like a model.
    write(source.resolve(), target.with_suffix(".part")).rename(target)
