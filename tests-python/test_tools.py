"""Tools and structured output through the official clients and those built on them."""

import json

import anthropic
import jsonschema
import litellm
import openai
import pytest
from conftest import Server
from langchain_deepseek import ChatDeepSeek
from pydantic import BaseModel, Field

QUESTION = [{"role": "user", "content": "What is the weather in Paris today?"}]
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 20}, "unit": {"enum": ["celsius", "fahrenheit"]}},
    "required": ["city", "unit"],
    "additionalProperties": False,
}
FUNCTION = {"name": "get_weather", "description": "The weather of a city.", "parameters": SCHEMA, "strict": True}
TOOL = {"type": "function", "function": FUNCTION}
OTHER = {"type": "function", "function": FUNCTION | {"name": "get_time", "description": "The time in a city."}}


class Animal(BaseModel):
    """An animal."""

    name: str = Field(max_length=20)
    legs: int = Field(ge=0, le=100)
    wild: bool


def checked(arguments: str) -> dict:
    """Arguments, which must be valid by the schema."""
    given = json.loads(arguments)
    jsonschema.validate(given, SCHEMA)
    return given


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "get_weather"}}])
def test_a_call_that_is_demanded_is_made(client: openai.OpenAI, model: str, choice) -> None:
    options = {"model": model, "messages": QUESTION, "tools": [TOOL], "tool_choice": choice, "temperature": 0}
    whole = client.chat.completions.create(**options, max_tokens=200, parallel_tool_calls=False)
    (call,) = whole.choices[0].message.tool_calls
    assert whole.choices[0].finish_reason == "tool_calls"
    assert call.id and call.function.name == "get_weather"
    checked(call.function.arguments)
    with client.chat.completions.stream(**options, max_tokens=200, parallel_tool_calls=False) as stream:
        for _ in stream:
            pass
        (streamed,) = stream.get_final_completion().choices[0].message.tool_calls
    assert streamed.function.arguments == call.function.arguments


def test_the_result_of_a_call_is_answered(client: openai.OpenAI, model: str) -> None:
    first = client.chat.completions.create(
        model=model, messages=QUESTION, tools=[TOOL], tool_choice="required", temperature=0, max_tokens=200
    )
    message = first.choices[0].message
    results = [
        {"role": "tool", "tool_call_id": call.id, "content": '{"degrees": 21, "sky": "clear"}'}
        for call in message.tool_calls
    ]
    second = client.chat.completions.create(
        model=model,
        messages=[*QUESTION, message, *results],
        tools=[TOOL],
        tool_choice="none",
        temperature=0,
        max_tokens=40,
    )
    assert second.choices[0].message.content
    assert not second.choices[0].message.tool_calls


def test_auto_answers_with_text_or_with_a_whole_call(client: openai.OpenAI, model: str) -> None:
    whole = client.chat.completions.create(
        model=model, messages=QUESTION, tools=[TOOL, OTHER], temperature=0, max_tokens=200
    )
    choice = whole.choices[0]
    if choice.finish_reason == "tool_calls":
        for call in choice.message.tool_calls:
            checked(call.function.arguments)
    else:
        assert choice.message.content


def test_a_schema_is_held_to_and_parsed(client: openai.OpenAI, model: str) -> None:
    whole = client.chat.completions.parse(
        model=model,
        messages=[{"role": "user", "content": "Describe a spider."}],
        response_format=Animal,
        max_tokens=200,
        temperature=0,
    )
    assert isinstance(whole.choices[0].message.parsed, Animal)


def test_json_mode_gives_an_object(client: openai.OpenAI, model: str) -> None:
    whole = client.chat.completions.create(
        model=model,
        messages=[{"role": "user", "content": "Describe a cat in JSON with the fields name and age."}],
        response_format={"type": "json_object"},
        max_tokens=400,
        temperature=0,
    )
    if whole.choices[0].finish_reason == "stop":
        assert isinstance(json.loads(whole.choices[0].message.content), dict)
    else:
        assert whole.choices[0].finish_reason == "length"


def test_a_schema_that_cannot_be_held_to_is_refused(client: openai.OpenAI, model: str) -> None:
    bad = {"type": "json_schema", "json_schema": {"name": "bad", "strict": True, "schema": {"type": "no such type"}}}
    with pytest.raises((openai.BadRequestError, openai.UnprocessableEntityError)) as refused:
        client.chat.completions.create(model=model, messages=QUESTION, response_format=bad)
    assert "response_format" in str(refused.value)


def test_anthropic_calls_tools(server: Server, model: str) -> None:
    client = anthropic.Anthropic(base_url=f"{server.url}/anthropic", api_key="unused", max_retries=0)
    tool = {"name": "get_weather", "description": FUNCTION["description"], "input_schema": SCHEMA}
    options = {
        "model": model,
        "max_tokens": 200,
        "messages": QUESTION,
        "tools": [tool],
        "tool_choice": {"type": "tool", "name": "get_weather", "disable_parallel_tool_use": True},
        "extra_body": {"temperature": 0},
    }
    message = client.messages.create(**options)
    assert message.stop_reason == "tool_use"
    call = message.content[-1]
    assert (call.type, call.name) == ("tool_use", "get_weather")
    with client.messages.stream(**options) as stream:
        assert stream.get_final_message().content[-1].input == call.input
    answer = client.messages.create(
        model=model,
        max_tokens=32,
        tools=[tool],
        tool_choice={"type": "none"},
        messages=[
            *QUESTION,
            {"role": "assistant", "content": [block.model_dump() for block in message.content]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call.id, "content": "21 degrees"}]},
        ],
    )
    assert answer.content[0].type == "text"


def test_litellm_calls_tools(server: Server, model: str) -> None:
    whole = litellm.completion(
        model=f"deepseek/{model}",
        api_base=server.url,
        api_key="unused",
        messages=QUESTION,
        tools=[TOOL],
        tool_choice="required",
        max_tokens=200,
        temperature=0,
        extra_body={"parallel_tool_calls": False},
    )
    assert whole.choices[0].finish_reason == "tool_calls"
    checked(whole.choices[0].message.tool_calls[0].function.arguments)


def test_langchain_binds_tools_and_structured_output(server: Server, model: str) -> None:
    chat = ChatDeepSeek(model=model, api_base=server.url, api_key="unused", temperature=0, max_tokens=200)
    answer = chat.bind_tools([TOOL], tool_choice="required", parallel_tool_calls=False).invoke("What is the weather in Paris?")
    assert answer.tool_calls[0]["name"] == "get_weather"
    jsonschema.validate(answer.tool_calls[0]["args"], SCHEMA)
    animal = chat.with_structured_output(Animal, method="function_calling", strict=True).invoke("Describe a spider.")
    assert isinstance(animal, Animal)
