"""lm-eval, as it comes, over tasks of local data: generated answers, and choices weighed by their log-probabilities."""

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
CONTINUED = (
    WRITTEN.replace("capitals_written", "capitals_continued")
    .replace("What is the capital of {{{{country}}}}? Answer with its name.", "The capital of {{{{country}}}} is the city of")
    .replace('["\\n"]', '[".", "\\n"]')
)
CHOSEN = """\
task: capitals_chosen
dataset_path: json
dataset_kwargs:
  data_files: {data}
output_type: multiple_choice
test_split: train
doc_to_text: "The capital of {{{{country}}}} is the city of"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: label
metric_list:
  - metric: acc
    aggregation: mean
    higher_is_better: true
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
    (tmp_path / "continued.yaml").write_text(CONTINUED.format(data=data))
    (tmp_path / "chosen.yaml").write_text(CHOSEN.format(data=data))
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


def test_choices_are_weighed_by_their_log_probabilities(server: Server, model: str, tasks: TaskManager) -> None:
    # It finds by itself that the server has a tokenizer to ask, and sends its tokens.
    results = lm_eval.simple_evaluate(
        model="local-completions",
        model_args={"model": model, "base_url": f"{server.url}/v1/completions", "num_concurrent": 2},
        tasks=["capitals_chosen"],
        task_manager=tasks,
        log_samples=True,
        bootstrap_iters=0,
    )
    samples = results["samples"]["capitals_chosen"]
    weights = [[response[0][0] for response in sample["resps"]] for sample in samples]
    assert all(weight < 0 for pair in weights for weight in pair), weights
    # A model of 135 M parameters knows these.
    assert results["results"]["capitals_chosen"]["acc,none"] == 1.0, weights


def test_texts_are_generated_in_the_form_of_completions(server: Server, model: str, tasks: TaskManager) -> None:
    results = lm_eval.simple_evaluate(
        model="local-completions",
        model_args={"model": model, "base_url": f"{server.url}/v1/completions", "num_concurrent": 1},
        tasks=["capitals_continued"],
        task_manager=tasks,
        log_samples=True,
        bootstrap_iters=0,
    )
    answers = [sample["resps"][0][0] for sample in results["samples"]["capitals_continued"]]
    assert "Paris" in answers[0] and len(answers) == len(ROWS), answers
