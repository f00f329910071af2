"""Keys and what bounds them, as clients meet it: wrong keys, places that are taken, retries, empty balances."""

import threading
import time

import anthropic
import litellm
import openai
import pytest
from conftest import People, Server
from langchain_deepseek import ChatDeepSeek

LONG = [{"role": "user", "content": "Count from one to a thousand in words, and do not stop before the end."}]
SHORT = [{"role": "user", "content": "Say hello."}]


def of(server: Server, key: str, retries: int = 0) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key=key, max_retries=retries, timeout=600)


def test_a_key_is_taken_and_a_forged_one_is_not(server: Server, people: People, model: str) -> None:
    key = people.key()
    assert key.startswith("sk-cachalot-")
    assert of(server, key).chat.completions.create(model=model, messages=SHORT, max_tokens=4).choices
    # A letter in the middle: the last one may hold bits that say nothing.
    forged = key[:40] + ("A" if key[40] != "A" else "B") + key[41:]
    with pytest.raises(openai.AuthenticationError):
        of(server, forged).models.list()
    with pytest.raises(anthropic.AuthenticationError):
        anthropic.Anthropic(base_url=f"{server.url}/anthropic", api_key=forged, max_retries=0).messages.create(
            model=model, max_tokens=4, messages=SHORT
        )
    with pytest.raises(litellm.AuthenticationError):
        litellm.completion(
            model=f"deepseek/{model}", api_base=server.url, api_key=forged, messages=SHORT, max_tokens=4
        )


def test_a_revoked_key_is_refused_at_once(server: Server, people: People, model: str) -> None:
    made = people.ask("POST", "/api/keys", {"name": "short-lived"})
    client = of(server, made["secret"])
    assert client.models.list().data
    people.ask("DELETE", f"/api/keys/{made['key']['id']}")
    with pytest.raises(openai.AuthenticationError):
        client.models.list()


def test_a_key_for_other_models_is_refused(server: Server, people: People, model: str) -> None:
    with pytest.raises(openai.PermissionDeniedError):
        of(server, people.key(models=["another"])).chat.completions.create(
            model=model, messages=SHORT, max_tokens=4
        )


def hold(client: openai.OpenAI, model: str, seconds: float) -> threading.Thread:
    """Keeps one answer running for a while; returns when it runs."""
    running = threading.Event()

    def run() -> None:
        with client.chat.completions.create(model=model, messages=LONG, stream=True) as stream:
            began = time.monotonic()
            for _ in stream:
                running.set()
                if time.monotonic() - began > seconds:
                    return

    thread = threading.Thread(target=run)
    thread.start()
    assert running.wait(60), "the answer did not begin"
    return thread


def test_clients_come_back_when_a_place_is_taken(server: Server, people: People, model: str) -> None:
    key = people.key(requests_at_once=1)
    thread = hold(of(server, key), model, 3.0)
    with pytest.raises(openai.RateLimitError) as refused:
        of(server, key).chat.completions.create(model=model, messages=SHORT, max_tokens=4)
    assert int(refused.value.response.headers["retry-after"]) >= 1
    with pytest.raises(anthropic.RateLimitError):
        anthropic.Anthropic(base_url=f"{server.url}/anthropic", api_key=key, max_retries=0).messages.create(
            model=model, max_tokens=4, messages=SHORT
        )
    # The official clients wait as they are told and try again by themselves.
    assert of(server, key, retries=5).chat.completions.create(model=model, messages=SHORT, max_tokens=4).choices
    thread.join()
    thread = hold(of(server, key), model, 2.0)
    again = anthropic.Anthropic(base_url=f"{server.url}/anthropic", api_key=key, max_retries=5)
    assert again.messages.create(model=model, max_tokens=4, messages=SHORT).content
    thread.join()
    thread = hold(of(server, key), model, 2.0)
    chat = ChatDeepSeek(model=model, api_base=server.url, api_key=key, max_tokens=4, max_retries=5)
    assert chat.invoke("Say hello.").usage_metadata["output_tokens"] >= 1
    thread.join()


def test_every_request_is_in_ones_usage(server: Server, people: People, model: str) -> None:
    made = people.ask("POST", "/api/keys", {"name": "counted"})
    whole = of(server, made["secret"]).chat.completions.create(model=model, messages=SHORT, max_tokens=4)
    rows = people.ask("GET", f"/api/usage?key={made['key']['id']}")["rows"]
    assert len(rows) == 1
    assert rows[0]["output_tokens"] == whole.usage.completion_tokens
    assert rows[0]["hit_tokens"] + rows[0]["miss_tokens"] == whole.usage.prompt_tokens
    assert rows[0]["model"] == model
