"""The official JSON-Schema-Test-Suite, end to end: an answer of the real model is valid, or the schema is refused.

The model is asked for the very documents of the suite, those that are invalid above all, under each schema, and two
validators look at what comes out (jsonschema, jsonschema-rs). An answer that was cut by the token limit proves nothing
and is only counted. CACHALOT_SCHEMAS says how many schemas are drawn (0 for all of them, several documents each),
CACHALOT_SEED repeats a run's choices.
"""

import decimal
import json
import os
import pathlib
import random
import re
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from decimal import Decimal

import jsonschema
import jsonschema_rs
import openai
from conftest import Server

SUITE = pathlib.Path(__file__).parent.parent / "golden" / "json-schema" / "tests"
SCHEMAS = int(os.environ.get("CACHALOT_SCHEMAS", "220"))
SEED = int(os.environ.get("CACHALOT_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
DOCUMENTS_EACH_MAX = 1 if SCHEMAS else 4
TOKENS_MAX = 64
AT_ONCE = 8
DRAFTS = {
    "draft4": "http://json-schema.org/draft-04/schema#",
    "draft6": "http://json-schema.org/draft-06/schema#",
    "draft7": "http://json-schema.org/draft-07/schema#",
    "draft2019-09": "https://json-schema.org/draft/2019-09/schema",
    "draft2020-12": "https://json-schema.org/draft/2020-12/schema",
}
# Why a schema may be refused. Whatever is refused says one of these, and nothing else is refused.
KEYWORDS = (
    "$dynamicAnchor $dynamicRef $recursiveAnchor $recursiveRef contains dependencies dependentRequired dependentSchemas "
    "else if maxContains minContains not propertyNames then unevaluatedItems unevaluatedProperties uniqueItems"
).split()
UNSUPPORTED = {
    "keywords": r"Unimplemented keys: \[.*\]",
    "oneOf that may overlap": r"oneOf constraints are not supported",
    "formats": r"Unknown format: ",
    "nothing is valid": r"Unsatisfiable schema: |no tokens|allows? nothing|schema is false",
    "references elsewhere": r"is not present in a registry|[Rr]etriev|does not exist|unresolvable|Unknown anchor|Invalid anchor",
    "patterns": r"regex parse error|[Ll]ookarounds? |not supported yet|pattern(Properties)? with ",
    "patternProperties that may overlap": r"not disjoint|are disjoint|one pattern twice",
    "minProperties and maxProperties": r"min/maxProperties only supported|minProperties of more than one",
    "numbers": r"beyond 9007199254740992|range: min=|too many digits|multipleOf whose|Expected (f64|positive integer)",
    "strings": r"control characters",
    "circular references": r"circular references|too large or too complex",
    "metaschemas": r"Unknown (specification|meta-schema)",
}


# Remainders of large numbers are exact; threads begin with this context.
decimal.DefaultContext.prec = 1000


@dataclass
class Asked:
    """A schema of the suite, and a document that the model is asked for."""

    place: str
    schema: dict | bool
    document: object
    number: int


@dataclass
class Found:
    """What came of it."""

    asked: Asked
    # "valid", "invalid", "cut", or why it was refused.
    what: str
    detail: str = ""


def schemas() -> list[tuple[str, dict | bool, list]]:
    """All of the suite: where it stands, the schema as the suite means it, the documents with the invalid ones first."""
    found = []
    for draft, name in DRAFTS.items():
        for file in sorted((SUITE / draft).rglob("*.json")):
            for group in json.loads(file.read_text()):
                schema = group["schema"]
                if isinstance(schema, dict) and "$schema" not in schema:
                    schema = {"$schema": name} | schema
                tests = sorted(group["tests"], key=lambda test: test["valid"])
                place = f"{draft}/{file.relative_to(SUITE / draft)}: {group['description']}"
                found.append((place, schema, [test["data"] for test in tests]))
    return found


def drawn() -> list[Asked]:
    chance = random.Random(SEED)
    every = schemas()
    asked = []
    for place, schema, documents in chance.sample(every, SCHEMAS) if SCHEMAS else every:
        for document in documents[:DOCUMENTS_EACH_MAX] if not SCHEMAS else [chance.choice(documents)]:
            asked.append(Asked(place, schema, document, len(asked)))
    return asked


def ask(client: openai.OpenAI, model: str, asked: Asked) -> Found:
    text = f"Repeat this and nothing else: {json.dumps(asked.document, ensure_ascii=False)}"
    form = {"type": "json_schema", "json_schema": {"name": "suite", "strict": True, "schema": asked.schema}}
    try:
        whole = client.chat.completions.create(
            model=model,
            messages=[{"role": "user", "content": text}],
            max_tokens=TOKENS_MAX,
            temperature=1,
            seed=SEED % (1 << 31) + asked.number,
            response_format=form,
        )
    except (openai.BadRequestError, openai.UnprocessableEntityError) as refused:
        return Found(asked, reason(refused), str(refused))
    choice = whole.choices[0]
    if choice.finish_reason == "length":
        return Found(asked, "cut")
    assert choice.finish_reason == "stop", (asked, choice)
    wrong = complaint(asked, choice.message.content)
    return Found(asked, "invalid", wrong) if wrong else Found(asked, "valid")


def reason(refused: openai.APIStatusError) -> str:
    """Which kind of what is not supported a refusal names; it names the field too."""
    message = refused.body["message"]
    assert refused.body["param"].startswith("response_format"), refused.body
    kinds = [kind for kind, text in UNSUPPORTED.items() if re.search(text, message)]
    assert kinds, f"a refusal that does not say why: {message}"
    if kinds[0] == "keywords":
        named = re.findall(r'"([^"]+)"', message[message.index("keys: [") :])
        assert named and set(named) <= set(KEYWORDS), message
        return f"keywords: {', '.join(sorted(named))}"
    return kinds[0]


def exact(number: str) -> Decimal | float:
    """A number as it is written, where that can be held."""
    exponent = int((number.lower() + "e0").split("e")[1])
    return Decimal(number) if abs(exponent) < 400 else float(number)


def exactly(schema: object) -> object:
    """A schema with its numbers as they are written."""
    return json.loads(json.dumps(schema), parse_float=exact)


def matches(pattern: str, text: str) -> bool:
    """Whether an expression of ECMA-262, which Python's are not, is found in a text."""
    return jsonschema_rs.is_valid({"pattern": pattern}, text)


def pattern_errors(validator: object, pattern: str, instance: object, _: object) -> Iterator[jsonschema.ValidationError]:
    if isinstance(instance, str) and not matches(pattern, instance):
        yield jsonschema.ValidationError(f"{instance!r} does not match {pattern!r}")


def property_errors(validator: object, patterns: dict, instance: object, _: object) -> Iterator[jsonschema.ValidationError]:
    for pattern, schema in patterns.items() if isinstance(instance, dict) else ():
        for name, value in instance.items():
            if matches(pattern, name):
                yield from validator.descend(value, schema, path=name, schema_path=pattern)


def asserted(schema: dict | bool) -> dict | bool:
    """A schema without the keywords that describe and forbid nothing: in all drafts here, as since 2019-09."""
    if isinstance(schema, bool):
        return schema
    return {name: value for name, value in schema.items() if name not in ("contentEncoding", "contentMediaType")}


def complaint(asked: Asked, text: str) -> str:
    """What is wrong with a whole answer, which is to be JSON, and valid."""
    document = json.loads(text, parse_float=exact)
    kind = jsonschema.validators.validator_for(asked.schema, jsonschema.Draft202012Validator)
    checker = kind.FORMAT_CHECKER
    kind = jsonschema.validators.extend(kind, {"pattern": pattern_errors, "patternProperties": property_errors})
    complaints: list[str] = []
    try:
        error = next(kind(exactly(asked.schema), format_checker=checker).iter_errors(document), None)
        complaints += [error.message] if error else []
    except re.error:
        pass  # Beside additionalProperties Python's own reading counts, and it can't read all.
    validator = jsonschema_rs.validator_for(asserted(asked.schema), validate_formats=True, ignore_unknown_formats=True)
    try:
        error = next(iter(validator.iter_errors(json.loads(text))), None)
        complaints += [error.message] if error else []
    except ValueError:
        pass  # A number beyond those of doubles, which that validator can't hold.
    return f"{asked.place}: {text} under {json.dumps(asked.schema)}: {complaints}" if complaints else ""


def test_no_answer_is_invalid(server: Server, client: openai.OpenAI, model: str) -> None:
    print(f"CACHALOT_SEED={SEED}")
    asked = drawn()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = list(pool.map(lambda one: ask(client, model, one), asked))
    counted = Counter(one.what for one in found)
    refused = {what: count for what, count in counted.most_common() if what not in ("valid", "invalid", "cut")}
    print(f"{len(found)} asked, {counted['valid']} valid, {counted['cut']} cut, {sum(refused.values())} refused:")
    print("\n".join(f"{count:6} {what}" for what, count in refused.items()))
    wrong = [one.detail for one in found if one.what == "invalid"]
    assert not wrong, f"{len(wrong)} answers are invalid:\n" + "\n".join(wrong)
    assert counted["valid"] > len(found) / 5, "too few answers came to their end for the test to mean anything"
    # It is 43 % of the whole suite; what is drawn of it is seldom far from that.
    assert sum(refused.values()) < 0.6 * len(found), "too much is refused"
