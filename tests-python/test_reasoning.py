"""A model that thinks, through the clients that know of thoughts: openai with DeepSeek's fields, litellm's DeepSeek
provider, langchain-deepseek, anthropic."""

import anthropic
import litellm
import openai
import pytest
from conftest import Server
from langchain_deepseek import ChatDeepSeek

QUESTION = [{"role": "user", "content": "What is 17 + 25?"}]
BUDGET = {"thinking": {"type": "enabled", "budget_tokens": 3}}
MODEL = "thinker"


def parts(chunks) -> tuple[str, str]:
    """Reasoning and content of a stream; no chunk may have both, and no reasoning may follow content."""
    reasoning, content = "", ""
    for chunk in chunks:
        for choice in chunk.choices:
            thought = getattr(choice.delta, "reasoning_content", None) or ""
            said = choice.delta.content or ""
            assert not (thought and said), chunk
            assert not (thought and content), "reasoning after content"
            reasoning += thought
            content += said
    return reasoning, content


def test_thoughts_are_apart_from_the_answer_and_within_their_budget(thinker: openai.OpenAI) -> None:
    options = {"model": MODEL, "messages": QUESTION, "temperature": 0, "max_tokens": 160, "extra_body": BUDGET}
    whole = thinker.chat.completions.create(**options)
    message, usage = whole.choices[0].message, whole.usage
    assert message.reasoning_content and message.content
    assert "think>" not in message.reasoning_content + message.content
    # The thought ends at the end of a sentence, or not much later.
    assert 0 < usage.completion_tokens_details.reasoning_tokens <= 3 + 64 + 8
    assert usage.completion_tokens > usage.completion_tokens_details.reasoning_tokens
    streamed = parts(thinker.chat.completions.create(**options, stream=True))
    assert streamed == (message.reasoning_content, message.content)


def test_thinking_can_be_turned_off(thinker: openai.OpenAI) -> None:
    off = {"thinking": {"type": "disabled"}}
    whole = thinker.chat.completions.create(
        model=MODEL, messages=QUESTION, temperature=0, max_tokens=32, extra_body=off
    )
    assert getattr(whole.choices[0].message, "reasoning_content", None) is None
    assert whole.choices[0].message.content
    assert whole.usage.completion_tokens_details.reasoning_tokens == 0


@pytest.mark.parametrize("effort", ["low", "high", "max", "none"])
def test_every_effort_is_taken(thinker: openai.OpenAI, effort: str) -> None:
    whole = thinker.chat.completions.create(
        model=MODEL, messages=QUESTION, max_tokens=8, extra_body={"reasoning_effort": effort}
    )
    assert whole.choices[0].finish_reason in ("stop", "length")


def test_litellm_knows_it_as_deepseek(thinking_server: Server) -> None:
    options = {
        "model": f"deepseek/{MODEL}",
        "api_base": thinking_server.url,
        "api_key": "unused",
        "messages": QUESTION,
        "temperature": 0,
        "max_tokens": 160,
        "extra_body": BUDGET,
    }
    whole = litellm.completion(**options)
    assert whole.choices[0].message.reasoning_content and whole.choices[0].message.content
    assert whole.usage.prompt_tokens > 0
    assert parts(litellm.completion(**options, stream=True)) == (
        whole.choices[0].message.reasoning_content,
        whole.choices[0].message.content,
    )


def test_langchain_deepseek_has_the_thoughts(thinking_server: Server) -> None:
    chat = ChatDeepSeek(
        model=MODEL, api_base=thinking_server.url, api_key="unused", temperature=0, max_tokens=160, extra_body=BUDGET
    )
    answer = chat.invoke("What is 17 + 25?")
    assert answer.additional_kwargs["reasoning_content"] and answer.content
    assert answer.usage_metadata["input_tokens"] > 0
    pieces = list(chat.stream("What is 17 + 25?"))
    assert len(pieces) > 5
    thought = "".join(piece.additional_kwargs.get("reasoning_content", "") for piece in pieces)
    assert thought == answer.additional_kwargs["reasoning_content"]
    assert "".join(piece.content for piece in pieces) == answer.content


def test_anthropic_has_blocks_of_thinking(thinking_server: Server) -> None:
    client = anthropic.Anthropic(base_url=f"{thinking_server.url}/anthropic", api_key="unused", max_retries=0)
    options = {
        "model": MODEL,
        "max_tokens": 1200,
        "messages": QUESTION,
        "thinking": {"type": "enabled", "budget_tokens": 1024},
    }
    with client.messages.stream(**options) as stream:
        kinds = {event.type for event in stream}
        message = stream.get_final_message()
    assert {"message_start", "content_block_start", "content_block_delta", "message_stop"} <= kinds
    assert message.content[0].type == "thinking" and message.content[0].thinking
    # The whole of it can be said again in the next turn.
    again = client.messages.create(
        model=MODEL,
        max_tokens=8,
        thinking={"type": "disabled"},
        messages=[
            *QUESTION,
            {"role": "assistant", "content": [block.model_dump() for block in message.content]},
            {"role": "user", "content": "Are you sure?"},
        ],
    )
    assert again.usage.input_tokens > 0
