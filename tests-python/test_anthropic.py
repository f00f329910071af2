"""The official `anthropic` client against a real server, as any program written for Anthropic's API would use it."""

import asyncio
import json
import time

import anthropic
import pytest
from conftest import Server

QUESTION = [{"role": "user", "content": "Name three animals that live in the sea, with one sentence about each."}]


@pytest.fixture(scope="module", params=["", "/anthropic"], ids=["root", "anthropic"])
def asker(server: Server, request: pytest.FixtureRequest) -> anthropic.Anthropic:
    """The official client with either base URL; it must not hide a failure by trying again."""
    return anthropic.Anthropic(base_url=server.url + request.param, api_key="unused", max_retries=0, timeout=600)


def ask(asker: anthropic.Anthropic, model: str, messages=QUESTION, **options) -> anthropic.types.Message:
    """A greedy message of at most 48 tokens, unless the options say otherwise."""
    # The types of current models have no temperature; the API still has one.
    extra = {"temperature": 0, **options.pop("extra_body", {})}
    return asker.messages.create(
        model=model, messages=messages, **{"max_tokens": 48, **options}, extra_body=extra
    )


def text(message: anthropic.types.Message) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


def read(usage: anthropic.types.Usage) -> int:
    """Tokens of the conversation, whether they were in the cache or not."""
    return usage.input_tokens + usage.cache_read_input_tokens


def test_a_message_has_the_form_of_anthropic(asker: anthropic.Anthropic, model: str) -> None:
    message = ask(asker, model)
    assert message.id.startswith("msg_")
    assert (message.type, message.role, message.model) == ("message", "assistant", model)
    assert [block.type for block in message.content] == ["text"]
    assert text(message).strip()
    assert message.stop_reason in ("end_turn", "max_tokens")
    assert message.stop_sequence is None
    assert read(message.usage) > 10
    assert 1 <= message.usage.output_tokens <= 48
    assert message._request_id


def test_a_stream_says_what_the_whole_message_says(asker: anthropic.Anthropic, model: str) -> None:
    whole = ask(asker, model)
    with asker.messages.stream(
        model=model, messages=QUESTION, max_tokens=48, extra_body={"temperature": 0}
    ) as stream:
        events = list(stream)
        final = stream.get_final_message()
    names = [event.type for event in events if event.type not in ("text", "content_block_delta")]
    expected = ["message_start", "content_block_start", "content_block_stop", "message_delta", "message_stop"]
    assert names == expected
    pieces = [event.text for event in events if event.type == "text"]
    assert len(pieces) > 5
    assert "".join(pieces) == text(final) == text(whole)
    assert (final.stop_reason, final.stop_sequence) == (whole.stop_reason, whole.stop_sequence)
    assert final.usage.output_tokens == whole.usage.output_tokens
    assert read(final.usage) == read(whole.usage)


def test_the_async_client_streams_too(asker: anthropic.Anthropic, model: str) -> None:
    async def answer() -> str:
        pieces = []
        async with anthropic.AsyncAnthropic(base_url=str(asker.base_url), api_key="unused", max_retries=0) as client:
            async with client.messages.stream(
                model=model, messages=QUESTION, max_tokens=48, extra_body={"temperature": 0}
            ) as stream:
                async for piece in stream.text_stream:
                    pieces.append(piece)
        return "".join(pieces)

    assert asyncio.run(answer()) == text(ask(asker, model))


def test_a_stop_sequence_ends_the_message_before_itself(asker: anthropic.Anthropic, model: str) -> None:
    full = text(ask(asker, model))
    stop = full[20:26]
    message = ask(asker, model, stop_sequences=["\x00never\x00", stop])
    assert (text(message), message.stop_reason) == (full[: full.index(stop)], "stop_sequence")
    assert message.stop_sequence == stop


def test_max_tokens_cuts_the_message(asker: anthropic.Anthropic, model: str) -> None:
    message = ask(asker, model, max_tokens=5)
    assert (message.stop_reason, message.usage.output_tokens) == ("max_tokens", 5)
    assert text(ask(asker, model)).startswith(text(message))


def test_more_tokens_than_fit_are_no_error(asker: anthropic.Anthropic, model: str) -> None:
    question = [{"role": "user", "content": "Say yes."}]
    assert ask(asker, model, question, max_tokens=20_000, stop_sequences=["e", "."]).stop_reason == "stop_sequence"


def test_a_conversation_goes_on_and_its_beginning_is_cached(asker: anthropic.Anthropic, model: str) -> None:
    system = [{"type": "text", "text": "You like the sea. " * 20, "cache_control": {"type": "ephemeral"}}]
    first = ask(asker, model, system=system)
    replayed = [block.model_dump(exclude_none=True) for block in first.content]
    messages = [*QUESTION, {"role": "assistant", "content": replayed}, {"role": "user", "content": "Which is blue?"}]
    second = ask(asker, model, messages, system=system)
    assert text(second).strip()
    assert second.usage.cache_read_input_tokens >= read(first.usage) // 16 * 16


def test_a_message_goes_on_from_what_was_begun(asker: anthropic.Anthropic, model: str) -> None:
    full = text(ask(asker, model))
    begun = [*QUESTION, {"role": "assistant", "content": full[:20].rstrip()}]
    assert not text(ask(asker, model, begun)).startswith(full[:10])


def test_tokens_are_counted_as_they_are_read(asker: anthropic.Anthropic, model: str) -> None:
    counted = asker.messages.count_tokens(model=model, messages=QUESTION, system="Be brief.")
    assert counted.input_tokens == read(ask(asker, model, system="Be brief.").usage)


def test_the_model_is_listed(asker: anthropic.Anthropic, model: str) -> None:
    page = asker.models.list()
    assert [entry.id for entry in page] == [model]
    (entry,) = page.data
    assert (entry.type, page.has_more, page.first_id, page.last_id) == ("model", False, model, model)
    assert entry.display_name
    assert entry.created_at.year == 1970


def test_errors_are_those_of_the_client(asker: anthropic.Anthropic, model: str) -> None:
    with pytest.raises(anthropic.NotFoundError) as missing:
        ask(asker, "claude-of-another-server")
    assert model in str(missing.value)
    assert missing.value.body["error"]["type"] == "not_found_error"
    assert missing.value.request_id == missing.value.body["request_id"]
    with pytest.raises(anthropic.BadRequestError, match="between 0 and 1"):
        ask(asker, model, extra_body={"temperature": 2})
    with pytest.raises(anthropic.BadRequestError, match="does not think"):
        ask(asker, model, thinking={"type": "enabled", "budget_tokens": 10})
    image = {"type": "image", "source": {"type": "url", "url": "https://example.org/x.png"}}
    with pytest.raises(anthropic.BadRequestError, match=r"messages\[0\].content\[0\].type: images"):
        ask(asker, model, [{"role": "user", "content": [image]}])
    with pytest.raises(anthropic.BadRequestError, match="context holds"):
        ask(asker, model, [{"role": "user", "content": "whale " * 20_000}])


DEPTH = {
    "name": "depth",
    "description": "How deep an animal dives, in metres.",
    "input_schema": {
        "type": "object",
        "properties": {"animal": {"enum": ["whale", "seal"]}, "metres": {"type": "integer"}},
        "required": ["animal", "metres"],
        "additionalProperties": False,
    },
    "strict": True,
}
HOW_DEEP = [{"role": "user", "content": "How deep does a whale dive?"}]


def check_depth(given: dict) -> None:
    assert list(given) == ["animal", "metres"]
    assert given["animal"] in ("whale", "seal")
    assert isinstance(given["metres"], int)


def test_a_tool_is_called_and_its_result_taken(asker: anthropic.Anthropic, model: str) -> None:
    choice = {"type": "tool", "name": "depth", "disable_parallel_tool_use": True}
    called = ask(asker, model, HOW_DEEP, tools=[DEPTH], tool_choice=choice, max_tokens=200)
    assert called.stop_reason == "tool_use"
    (call,) = [block for block in called.content if block.type == "tool_use"]
    assert call.name == "depth"
    check_depth(call.input)
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "2000 metres"}
    messages = [
        *HOW_DEEP,
        {"role": "assistant", "content": [block.model_dump(exclude_none=True) for block in called.content]},
        {"role": "user", "content": [result]},
    ]
    answered = ask(asker, model, messages, tools=[DEPTH], tool_choice={"type": "none"})
    assert answered.stop_reason in ("end_turn", "max_tokens")
    assert text(answered).strip()


def test_a_call_is_streamed(asker: anthropic.Anthropic, model: str) -> None:
    choice = {"type": "any", "disable_parallel_tool_use": True}
    with asker.messages.stream(
        model=model, messages=HOW_DEEP, tools=[DEPTH], tool_choice=choice, max_tokens=200, extra_body={"temperature": 0}
    ) as stream:
        pieces = [event.partial_json for event in stream if event.type == "input_json"]
        final = stream.get_final_message()
    assert len(pieces) > 1
    (call,) = [block for block in final.content if block.type == "tool_use"]
    assert final.stop_reason == "tool_use"
    assert json.loads("".join(pieces)) == call.input
    check_depth(call.input)


def test_a_text_has_the_form_of_a_schema(asker: anthropic.Anthropic, model: str) -> None:
    form = {"format": {"type": "json_schema", "schema": DEPTH["input_schema"]}}
    message = ask(asker, model, HOW_DEEP, output_config=form, max_tokens=200)
    assert message.stop_reason == "end_turn"
    check_depth(json.loads(text(message)))


def test_a_client_that_goes_away_frees_the_engine(server: Server, asker: anthropic.Anthropic, model: str) -> None:
    story = [{"role": "user", "content": "Tell me a very long story about a whale."}]
    with asker.messages.stream(model=model, messages=story, max_tokens=4000) as stream:
        next(iter(stream.text_stream))
    deadline = time.monotonic() + 30
    while server.gauge("num_requests_running"):
        assert time.monotonic() < deadline, "the message still runs"
        time.sleep(0.1)
