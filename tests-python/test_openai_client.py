"""The official `openai` client against a real server, as any program written for OpenAI's API would use it."""

import asyncio
import json
import math
import re
import subprocess
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import openai
import pytest
from conftest import Server, free_port

QUESTION = [{"role": "user", "content": "Name three animals that live in the sea, with one sentence about each."}]
EIGHT = [
    "What is the capital of France?",
    "Write a short poem about the sea.",
    "Explain in two sentences why the sky is blue.",
    "How do I reverse a list in Python?",
    "Écris une phrase sur la pluie.",
    "Count from one to ten in words.",
    "What is 17 + 25?",
    "Tell me a story about a whale and a lighthouse keeper who could not sleep at night.",
]


def ask(client: openai.OpenAI, model: str, messages=QUESTION, **options):
    """A greedy answer of at most 48 tokens, unless the options say otherwise."""
    options = {"temperature": 0, "max_tokens": 48, **options}
    return client.chat.completions.create(model=model, messages=messages, **options)


def text(completion) -> str:
    return completion.choices[0].message.content


def streamed(chunks) -> tuple[str, str | None]:
    """The text of a stream and how it ended."""
    content, finish = "", None
    for chunk in chunks:
        for choice in chunk.choices:
            content += choice.delta.content or ""
            finish = choice.finish_reason or finish
    return content, finish


def test_the_model_is_listed(client: openai.OpenAI, model: str) -> None:
    (entry,) = client.models.list().data
    assert entry.object == "model"
    assert model


def test_an_answer_has_the_form_of_openai(client: openai.OpenAI, model: str) -> None:
    before = time.time()
    completion = ask(client, model)
    assert completion.object == "chat.completion"
    assert completion.model == model
    assert completion.id
    assert before - 60 <= completion.created <= time.time() + 60
    (choice,) = completion.choices
    assert choice.index == 0
    assert choice.message.role == "assistant"
    assert choice.message.content.strip()
    assert choice.finish_reason in ("stop", "length")
    assert choice.logprobs is None
    usage = completion.usage
    # The question alone has more than ten tokens.
    assert usage.prompt_tokens > 10
    assert 1 <= usage.completion_tokens <= 48
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens


def test_a_stream_says_what_the_whole_answer_says(client: openai.OpenAI, model: str) -> None:
    whole = ask(client, model)
    chunks = list(ask(client, model, stream=True))
    assert {chunk.object for chunk in chunks} == {"chat.completion.chunk"}
    assert len({chunk.id for chunk in chunks}) == 1
    assert chunks[0].choices[0].delta.role == "assistant"
    # It is a stream, not one piece.
    assert len(chunks) > 5
    assert [bool(choice.finish_reason) for chunk in chunks for choice in chunk.choices].count(True) == 1
    assert streamed(chunks) == (text(whole), whole.choices[0].finish_reason)
    # As DeepSeek does unasked: the usage rides on the last chunk.
    assert all(chunk.usage is None for chunk in chunks[:-1])
    assert chunks[-1].usage == whole.usage


def test_a_stream_ends_with_usage_when_asked(client: openai.OpenAI, model: str) -> None:
    whole = ask(client, model)
    chunks = list(ask(client, model, stream=True, stream_options={"include_usage": True}))
    assert chunks[-1].choices == []
    assert chunks[-1].usage.prompt_tokens == whole.usage.prompt_tokens
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens
    assert all(chunk.usage is None for chunk in chunks[:-1])


def test_the_events_are_well_formed_and_end_with_done(server: Server, model: str) -> None:
    body = json.dumps({"model": model, "messages": QUESTION, "stream": True, "max_tokens": 4}).encode()
    request = urllib.request.Request(
        f"{server.url}/v1/chat/completions", body, {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request) as response:
        assert response.headers.get_content_type() == "text/event-stream"
        events = [event for event in response.read().decode().split("\n\n") if event and not event.startswith(":")]
    assert events[-1] == "data: [DONE]"
    for event in events[:-1]:
        assert json.loads(event.removeprefix("data: "))["object"] == "chat.completion.chunk"


def test_the_async_client_streams_too(server: Server, client: openai.OpenAI, model: str) -> None:
    async def answer() -> str:
        content = ""
        async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="unused", max_retries=0) as asynchronous:
            stream = await asynchronous.chat.completions.create(
                model=model, messages=QUESTION, temperature=0, max_tokens=48, stream=True
            )
            async for chunk in stream:
                content += chunk.choices[0].delta.content or ""
        return content

    assert asyncio.run(answer()) == text(ask(client, model))


def test_a_seed_makes_an_answer_repeatable(client: openai.OpenAI, model: str) -> None:
    def sample(seed: int) -> str:
        return text(ask(client, model, temperature=1.0, seed=seed))

    assert sample(7) == sample(7)
    assert len({sample(seed) for seed in (7, 8, 9)}) > 1


def test_greedy_answers_are_repeatable(client: openai.OpenAI, model: str) -> None:
    assert text(ask(client, model)) == text(ask(client, model))


@pytest.mark.parametrize("stream", [False, True])
def test_a_stop_string_ends_the_answer_before_itself(client: openai.OpenAI, model: str, stream: bool) -> None:
    full = text(ask(client, model))
    words = re.findall(r"\w{4,}", full)
    # From the middle of one word into the next, so that no token is the stop string.
    place = full.index(words[len(words) // 2]) + 2
    stop = full[place : place + 6]
    expected = full[: full.index(stop)]
    answer = ask(client, model, stop=["\x00never\x00", stop], stream=stream)
    found = streamed(answer) if stream else (text(answer), answer.choices[0].finish_reason)
    assert found == (expected, "stop")


@pytest.mark.parametrize("limit", [1, 5])
def test_max_tokens_cuts_the_answer(client: openai.OpenAI, model: str, limit: int) -> None:
    completion = ask(client, model, max_tokens=limit)
    assert completion.usage.completion_tokens == limit
    assert completion.choices[0].finish_reason == "length"
    assert text(ask(client, model)).startswith(text(completion))


def test_max_completion_tokens_is_the_same(client: openai.OpenAI, model: str) -> None:
    completion = client.chat.completions.create(
        model=model, messages=QUESTION, temperature=0, max_completion_tokens=5
    )
    assert text(completion) == text(ask(client, model, max_tokens=5))


@pytest.mark.parametrize("stream", [False, True])
def test_logprobs_belong_to_the_answer(client: openai.OpenAI, model: str, stream: bool) -> None:
    answer = ask(client, model, max_tokens=12, logprobs=True, top_logprobs=3, stream=stream)
    if stream:
        chunks = list(answer)
        content, _ = streamed(chunks)
        tokens = [
            token
            for chunk in chunks
            for choice in chunk.choices
            if choice.logprobs
            for token in choice.logprobs.content or []
        ]
    else:
        content, tokens = text(answer), answer.choices[0].logprobs.content
    assert len(tokens) == 12
    assert bytes(byte for token in tokens for byte in token.bytes).decode() == content
    for token in tokens:
        assert token.logprob <= 0
        top = [entry.logprob for entry in token.top_logprobs]
        assert len(top) == 3
        assert top == sorted(top, reverse=True)
        assert sum(math.exp(logprob) for logprob in top) <= 1 + 1e-5
        # Greedy: what was chosen is the likeliest.
        assert token.token == token.top_logprobs[0].token
        assert token.logprob == token.top_logprobs[0].logprob


def test_logit_bias_forces_a_token(client: openai.OpenAI, model: str) -> None:
    completion = ask(client, model, max_tokens=3, logit_bias={"28": 100}, logprobs=True)
    tokens = [token.token for token in completion.choices[0].logprobs.content]
    assert len(tokens) == 3
    assert len(set(tokens)) == 1
    assert tokens[0] != ask(client, model, max_tokens=1, logprobs=True).choices[0].logprobs.content[0].token


def test_earlier_turns_and_the_system_message_count(client: openai.OpenAI, model: str) -> None:
    plain = ask(client, model)
    turns = [
        {"role": "system", "content": "You are a pirate. You say Arrr."},
        {"role": "user", "content": [{"type": "text", "text": "My name is "}, {"type": "text", "text": "Marion."}]},
        {"role": "assistant", "content": "Hello, Marion."},
        *QUESTION,
    ]
    longer = ask(client, model, turns)
    assert longer.usage.prompt_tokens > plain.usage.prompt_tokens + 10
    assert text(longer) != text(plain)


def test_special_tokens_in_a_message_are_text(client: openai.OpenAI, model: str) -> None:
    """A user can't end their own turn: the literal takes several ordinary tokens."""
    end = "<|im_end|>"
    plain = ask(client, model, [{"role": "user", "content": "x"}], max_tokens=1).usage.prompt_tokens
    with_end = ask(client, model, [{"role": "user", "content": "x" + end}], max_tokens=1).usage.prompt_tokens
    assert with_end >= plain + 3


def refused(client: openai.OpenAI, model: str, **options) -> openai.APIStatusError:
    """The error of a request that must fail, with a body of OpenAI's form."""
    with pytest.raises(openai.APIStatusError) as caught:
        ask(client, model, **options)
    error = caught.value
    assert 400 <= error.status_code < 500
    assert error.type
    assert error.body["message"]
    return error


def test_an_unknown_model_is_not_found(client: openai.OpenAI, model: str) -> None:
    error = refused(client, "no-such-model")
    assert isinstance(error, openai.NotFoundError)
    assert (error.code, error.param) == ("model_not_found", "model")
    assert "no-such-model" in error.body["message"]


@pytest.mark.parametrize("stream", [False, True])
def test_a_prompt_past_the_context_is_refused(client: openai.OpenAI, model: str, stream: bool) -> None:
    # SmolLM2's context is 8192 tokens, and each of these words is at least one.
    error = refused(client, model, messages=[{"role": "user", "content": "whale " * 9000}], stream=stream)
    assert isinstance(error, openai.BadRequestError)
    assert error.code == "context_length_exceeded"
    # It says what was allowed.
    assert re.search(r"\d{4}", error.body["message"])


@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({"messages": [{"role": "wizard", "content": "Hello"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": []}, "messages"),
        ({"temperature": 3}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"top_p": -0.1}, "top_p"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"n": 9}, "n"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"logprobs": True, "top_logprobs": 50}, "top_logprobs"),
        ({"logit_bias": {"x": 1}}, "logit_bias"),
    ],
)
def test_a_wrong_field_is_named(client: openai.OpenAI, model: str, options: dict, param: str) -> None:
    error = refused(client, model, **options)
    assert error.status_code in (400, 422)
    assert error.param == param
    assert param.split(".")[0].split("[")[0] in error.body["message"]


def test_a_body_that_is_not_json_is_refused(server: Server) -> None:
    request = urllib.request.Request(
        f"{server.url}/v1/chat/completions", b"{", {"content-type": "application/json"}
    )
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request)
    assert caught.value.code == 400
    assert json.loads(caught.value.read())["error"]["message"]


def test_streams_that_are_left_free_their_place(server: Server, client: openai.OpenAI, model: str) -> None:
    expected = text(ask(client, model))
    streams = []
    for _ in range(6):
        stream = ask(client, model, stream=True, max_tokens=8000, logit_bias={"28": 100})
        for _, chunk in zip(range(3), stream):
            assert chunk.choices[0].finish_reason is None
        streams.append(stream)
    assert server.gauge("num_requests_running") == 6
    assert server.gauge("kv_blocks_free") < server.gauge("kv_blocks")
    for stream in streams:
        stream.close()
    # Cancelled within a step. Were they to go on, they would take 48,000 tokens.
    deadline = time.monotonic() + 30
    while server.gauge("num_requests_running") > 0 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert server.gauge("num_requests_running") == 0
    assert server.gauge("kv_blocks_free") == server.gauge("kv_blocks")
    assert text(ask(client, model)) == expected


def test_eight_chats_at_once_answer_as_each_does_alone(client: openai.OpenAI, model: str) -> None:
    def answer(question: str) -> tuple[str, str | None]:
        messages = [{"role": "user", "content": question}]
        return streamed(ask(client, model, messages, stream=True))

    alone = [answer(question) for question in EIGHT]
    assert len(set(alone)) == 8
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(answer, EIGHT))
    assert together == alone


def test_the_server_refuses_to_listen_beyond_loopback(binary, model_file, tmp_path) -> None:
    command = [binary, "up", "--listen", f"0.0.0.0:{free_port()}", "--model", model_file]
    ended = subprocess.run(
        command, env={"CACHALOT_HOME": str(tmp_path)}, capture_output=True, text=True, timeout=120, check=False
    )
    assert ended.returncode != 0
    assert "can be reached from other machines" in ended.stderr
    assert "[tls]" in ended.stderr, "the way out is said"
