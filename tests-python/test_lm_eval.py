"""lm-eval, as it comes, over a task of local data: generated answers through /v1/chat/completions."""

import json
import pathlib

import lm_eval
import pytest
from conftest import Server
from lm_eval.tasks import TaskManager

WRITTEN = """\
task: capitals_written
dataset_path: json
dataset_kwargs:
  data_files: {data}
output_type: generate_until
test_split: train
doc_to_text: "What is the capital of {{{{country}}}}? Answer with its name."
doc_to_target: "{{{{choices[label]}}}}"
generation_kwargs:
  until: ["\\n"]
  max_gen_toks: 24
metric_list:
  - metric: exact_match
    aggregation: mean
    higher_is_better: true
filter_list:
  - name: raw
    filter:
      - function: take_first
"""
ROWS = [
    {"country": "France", "choices": [" Paris", " Oslo"], "label": 0},
    {"country": "Italy", "choices": [" Lima", " Rome"], "label": 1},
    {"country": "Japan", "choices": [" Tokyo", " Cairo"], "label": 0},
    {"country": "Spain", "choices": [" Dakar", " Madrid"], "label": 1},
]


@pytest.fixture
def tasks(tmp_path: pathlib.Path) -> TaskManager:
    data = tmp_path / "capitals.json"
    data.write_text("\n".join(json.dumps(row) for row in ROWS))
    (tmp_path / "written.yaml").write_text(WRITTEN.format(data=data))
    return TaskManager(include_path=str(tmp_path), include_defaults=False)


def test_answers_are_generated_in_the_form_of_a_chat(server: Server, model: str, tasks: TaskManager) -> None:
    results = lm_eval.simple_evaluate(
        model="local-chat-completions",
        model_args={"model": model, "base_url": f"{server.url}/v1/chat/completions", "num_concurrent": 1},
        tasks=["capitals_written"],
        task_manager=tasks,
        apply_chat_template=True,
        log_samples=True,
        bootstrap_iters=0,
    )
    answers = [sample["resps"][0][0] for sample in results["samples"]["capitals_written"]]
    assert "Paris" in answers[0] and len(answers) == len(ROWS)
