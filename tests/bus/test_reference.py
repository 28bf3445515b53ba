"""The generated reference: up to date, and true."""

from typing import Any

import jsonschema
import orjson
import pytest

from services.bus import reference
from services.bus.examples import EXAMPLES, Example
from services.bus.messages import MODELS, Model, read, write
from services.bus.topics import KINDS, Topic

FILES = reference.files()


@pytest.mark.parametrize("path", sorted(FILES))
def test_the_committed_file_is_what_the_models_give(path: str) -> None:
    committed = (reference.DOCS / path).read_text(encoding="utf-8")
    assert committed == FILES[path], "run `python -m services.bus.reference`"


def test_no_schema_is_left_of_a_kind_that_is_gone() -> None:
    committed = {f"schemas/{p.name}" for p in (reference.DOCS / "schemas").iterdir()}
    assert committed == {path for path in FILES if path.startswith("schemas/")}


def test_each_kind_is_described() -> None:
    assert set(reference.KINDS) == KINDS == set(MODELS)


@pytest.mark.parametrize("example", EXAMPLES, ids=[f"{e.topic} {e.title}" for e in EXAMPLES])
def test_an_example_fits_the_schema_of_exactly_one_message_of_its_kind(example: Example) -> None:
    topic = Topic.parse(example.topic)
    written = orjson.loads(write(read(topic, orjson.dumps(example.payload))))
    fitting = [m for m in reference.models_of(topic.kind) if fits(reference.schema(m), written)]
    assert len(fitting) == 1
    assert not fits(reference.schema(fitting[0]), [written])


def fits(schema: dict[str, Any], payload: Any) -> bool:
    jsonschema.Draft202012Validator.check_schema(schema)
    return bool(jsonschema.Draft202012Validator(schema).is_valid(payload))


def parts(model: type[Model]) -> dict[str, dict[str, Any]]:
    content = model.model_json_schema(by_alias=True)
    found: dict[str, dict[str, Any]] = content.pop("$defs", {})
    return found | {model.__name__: content}


@pytest.mark.parametrize("kind", sorted(MODELS))
def test_each_field_says_what_it_means(kind: str) -> None:
    for model in reference.models_of(kind):
        for name, part in parts(model).items():
            assert part["description"], name
            for field, content in part["properties"].items():
                assert content.get("description"), f"{name}.{field}"


def references(part: Any) -> set[str]:
    if isinstance(part, dict):
        found = {part["$ref"]} if isinstance(part.get("$ref"), str) else set()
        return found.union(*(references(value) for value in part.values()))
    return set().union(*(references(value) for value in part)) if isinstance(part, list) else set()


def test_the_asyncapi_document_holds_together() -> None:
    document = reference.asyncapi()
    assert document["asyncapi"] == "3.0.0"
    for reference_ in references(document):
        place: Any = document
        for key in reference_.removeprefix("#/").split("/"):
            place = place[key]
    for kind, channel in document["channels"].items():
        named = {part[1:-1] for part in channel["address"].split("/") if part.startswith("{")}
        assert named == set(channel["parameters"]), kind
    used = {operation["channel"]["$ref"].rpartition("/")[2] for operation in document["operations"].values()}
    replies = {
        o["reply"]["channel"]["$ref"].rpartition("/")[2] for o in document["operations"].values() if "reply" in o
    }
    assert used | replies == KINDS


def test_links_of_the_page_lead_somewhere() -> None:
    page = FILES["messages.md"]
    anchors = {
        line.lstrip("# ").lower().replace(":", "").replace(" ", "-") for line in page.splitlines() if line[:1] == "#"
    }
    linked = {part.partition(")")[0] for part in page.split("](#")[1:]}
    assert linked
    assert linked <= anchors
