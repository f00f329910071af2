"""The official `openai` client's Responses API against a real server."""

import json
import math
import time

import openai
import pytest
from conftest import Server

QUESTION = "Name three animals that live in the sea, with one sentence about each."


def ask(client: openai.OpenAI, model: str, question=QUESTION, **options) -> openai.types.responses.Response:
    """A greedy response of at most 48 tokens, unless the options say otherwise."""
    options = {"temperature": 0, "max_output_tokens": 48, **options}
    return client.responses.create(model=model, input=question, **options)


def test_a_response_has_the_form_of_openai(client: openai.OpenAI, model: str) -> None:
    before = time.time()
    response = ask(client, model, metadata={"a": "b"}, instructions="Be brief.", store=True)
    assert response.id.startswith("resp_")
    assert (response.object, response.model) == ("response", model)
    assert before - 60 <= response.created_at <= time.time() + 60
    assert response.status in ("completed", "incomplete")
    (message,) = response.output
    assert (message.type, message.role) == ("message", "assistant")
    assert message.content[0].annotations == []
    assert response.output_text.strip()
    assert (response.metadata, response.instructions) == ({"a": "b"}, "Be brief.")
    assert response.to_dict()["store"] is False
    usage = response.usage
    assert usage.input_tokens > 10
    assert 1 <= usage.output_tokens <= 48
    assert usage.total_tokens == usage.input_tokens + usage.output_tokens
    assert usage.output_tokens_details.reasoning_tokens == 0
    # The client's own types, strictly.
    type(response).model_validate(response.to_dict(), strict=False)


def test_a_stream_says_what_the_whole_response_says(client: openai.OpenAI, model: str) -> None:
    whole = ask(client, model)
    with client.responses.stream(model=model, input=QUESTION, temperature=0, max_output_tokens=48) as stream:
        events = list(stream)
    names = [event.type for event in events if event.type != "response.output_text.delta"]
    assert names == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        f"response.{whole.status}",
    ]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    pieces = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert len(pieces) > 5
    assert "".join(pieces) == whole.output_text
    assert events[-1].response.output_text == whole.output_text
    assert events[-1].response.usage.output_tokens == whole.usage.output_tokens


def test_it_says_what_chat_completions_says(client: openai.OpenAI, model: str) -> None:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": QUESTION}]
    chat = client.chat.completions.create(model=model, messages=messages, temperature=0, max_tokens=48)
    response = ask(client, model, instructions="Be brief.")
    assert response.output_text == chat.choices[0].message.content
    assert response.usage.input_tokens == chat.usage.prompt_tokens


def test_items_are_replayed(client: openai.OpenAI, model: str) -> None:
    first = ask(client, model)
    items = [{"role": "user", "content": QUESTION}]
    items += [item.to_dict() for item in first.output]
    items.append({"role": "user", "content": [{"type": "input_text", "text": "Which is blue?"}]})
    second = ask(client, model, items)
    assert second.output_text.strip()
    assert second.usage.input_tokens_details.cached_tokens >= first.usage.input_tokens // 16 * 16


def test_max_output_tokens_cuts_the_response(client: openai.OpenAI, model: str) -> None:
    response = ask(client, model, max_output_tokens=5)
    assert (response.status, response.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    assert response.usage.output_tokens == 5
    assert ask(client, model).output_text.startswith(response.output_text)


def test_logprobs_belong_to_the_text(client: openai.OpenAI, model: str) -> None:
    include = ["message.output_text.logprobs"]
    response = ask(client, model, max_output_tokens=6, top_logprobs=2, include=include)
    content = response.output[0].content[0]
    assert bytes(byte for token in content.logprobs for byte in token.bytes).decode() == content.text
    for token in content.logprobs:
        assert len(token.top_logprobs) == 2
        assert token.logprob == token.top_logprobs[0].logprob
        assert sum(math.exp(top.logprob) for top in token.top_logprobs) <= 1 + 1e-5


SCHEMA = {
    "type": "object",
    "properties": {"animal": {"enum": ["whale", "seal"]}, "metres": {"type": "integer"}},
    "required": ["animal", "metres"],
    "additionalProperties": False,
}
DEPTH = {"type": "function", "name": "depth", "description": "How deep an animal dives.", "parameters": SCHEMA}
HOW_DEEP = {"role": "user", "content": "How deep does a whale dive?"}


def check_depth(given: dict) -> None:
    assert list(given) == ["animal", "metres"]
    assert given["animal"] in ("whale", "seal")
    assert isinstance(given["metres"], int)


def test_a_function_is_called_and_its_output_taken(client: openai.OpenAI, model: str) -> None:
    chosen = {"type": "function", "name": "depth"}
    options = {"tools": [{**DEPTH, "strict": True}], "parallel_tool_calls": False, "max_output_tokens": 200}
    called = ask(client, model, [HOW_DEEP], tool_choice=chosen, **options)
    assert called.status == "completed"
    (call,) = [item for item in called.output if item.type == "function_call"]
    check_depth(json.loads(call.arguments))
    output = {"type": "function_call_output", "call_id": call.call_id, "output": "2000 metres"}
    items = [HOW_DEEP, *[item.to_dict() for item in called.output], output]
    answered = ask(client, model, items, tool_choice="none", **options)
    assert answered.output_text.strip()


def test_a_call_is_streamed(client: openai.OpenAI, model: str) -> None:
    options = {"tools": [{**DEPTH, "strict": True}], "parallel_tool_calls": False, "max_output_tokens": 200}
    with client.responses.stream(
        model=model, input=[HOW_DEEP], tool_choice="required", temperature=0, **options
    ) as stream:
        events = list(stream)
    pieces = [event.delta for event in events if event.type == "response.function_call_arguments.delta"]
    assert len(pieces) > 1
    (call,) = [item for item in events[-1].response.output if item.type == "function_call"]
    assert "".join(pieces) == call.arguments
    check_depth(json.loads(call.arguments))


def test_a_text_has_the_form_of_a_schema(client: openai.OpenAI, model: str) -> None:
    form = {"format": {"type": "json_schema", "name": "depth", "schema": SCHEMA, "strict": True}}
    response = ask(client, model, [HOW_DEEP], text=form, max_output_tokens=200)
    assert response.status == "completed"
    check_depth(json.loads(response.output_text))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"previous_response_id": "resp_1"}, "no responses are kept"),
        ({"conversation": "conv_1"}, "no conversations are kept"),
        ({"background": True}, "while its request waits"),
        ({"truncation": "auto"}, "nothing is ever cut"),
        ({"tools": [{"type": "web_search"}]}, "only tools of type"),
    ],
)
def test_what_is_not_there_is_refused(client: openai.OpenAI, model: str, options: dict, says: str) -> None:
    with pytest.raises(openai.UnprocessableEntityError, match=says):
        ask(client, model, **options)


def test_errors_are_those_of_the_client(client: openai.OpenAI, model: str) -> None:
    with pytest.raises(openai.NotFoundError, match=model):
        ask(client, "gpt-5")
    with pytest.raises(openai.BadRequestError, match="context holds") as long:
        ask(client, model, "whale " * 20_000)
    assert (long.value.code, long.value.param) == ("context_length_exceeded", "input")


def test_a_client_that_goes_away_frees_the_engine(server: Server, client: openai.OpenAI, model: str) -> None:
    question = "Tell me a very long story about a whale."
    with client.responses.create(model=model, input=question, max_output_tokens=4000, stream=True) as stream:
        assert any(event.type == "response.output_text.delta" for event in stream)
    deadline = time.monotonic() + 30
    while server.gauge("num_requests_running"):
        assert time.monotonic() < deadline, "the response still runs"
        time.sleep(0.1)
