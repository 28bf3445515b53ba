"""`python -m services.bus.reference`: writes docs/asyncapi.json, docs/schemas/*.json and docs/messages.md.

All of it comes from `MODELS`, `COMMANDS` and examples.py; a test fails when the files are not what this writes.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any, Final, NamedTuple

from services.bus.examples import EXAMPLES
from services.bus.messages import COMMANDS, MAX_PAYLOAD, MODELS, Model
from services.bus.settings import ROOT, BusSettings
from services.bus.topics import PREFIX, PUBLISHER, RETAINED_KINDS, STREAM_KINDS, Topic

DOCS: Final = ROOT / "docs"
DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"
BINDING: Final = "0.2.0"


class Kind(NamedTuple):
    """What is said of a message kind beyond its model. `down`: from the cloud, a phone or a person to the node."""

    name: str  # what stands for the last part of the topic
    what: str
    up: bool = True
    down: bool = False


KINDS: Final[dict[str, Kind]] = {
    "telemetry": Kind("profile", "one reading of all channels of a device, or a block of a high-rate profile"),
    "estimate": Kind("profile", "what streaming physics says of the device"),
    "score": Kind("model", "a bundle's judgement of one window"),
    "event": Kind("rule", "one change in an alarm's life"),
    "alarm": Kind("rule", "the present state of a rule's alarms"),
    "layout": Kind("profile", "which channels the device has"),
    "status": Kind("service", "life sign; also the Last Will"),
    "journal": Kind("stream", "what the publisher can still give of a stream, and what is lost"),
    "backfill": Kind("stream", "past messages that were asked for"),
    "request": Kind("service", "the node asks the cloud"),
    "command": Kind("service", "the node is asked", up=False, down=True),
    "reply": Kind("service", "the answer to a command or a request", down=True),
}
PARAMETERS: Final = {
    "node": "A computer that runs Emberwatch; `cloud` is the server.",
    "device": "The thing watched; `node` is the computer itself.",
    "profile": "A set of channels: `battery`.",
    "model": "The bundle that judged: `dyad-int8`.",
    "rule": "The alarm rule: `cell_spread`.",
    "service": "The service that says it, or is asked: `sensor`.",
    "stream": "kind.name of a stream: `telemetry.battery`.",
}


def models_of(kind: str) -> list[type[Model]]:
    """The models of a kind's messages; a command has one for each group of actions."""
    return list(dict.fromkeys(COMMANDS.values())) if kind == "command" else [MODELS[kind]]


def address(kind: str) -> str:
    return f"{PREFIX}/{{node}}/{{device}}/{kind}/{{{KINDS[kind].name}}}"


def examples_of(model: type[Model]) -> list[dict[str, Any]]:
    """Examples of a model: a name and the payload."""
    found = []
    for example in EXAMPLES:
        kind = Topic.parse(example.topic).kind
        if (COMMANDS[example.payload["action"]] if kind == "command" else MODELS[kind]) is model:
            name = example.topic.removeprefix(PREFIX + "/") + (f": {example.title}" if example.title else "")
            found.append({"name": name, "payload": example.payload})
    return found


# --- JSON Schemas -----------------------------------------------------------------------------------------------------


def schema(model: type[Model]) -> dict[str, Any]:
    """A JSON Schema that stands alone."""
    payloads = [example["payload"] for example in examples_of(model)]
    return {"$schema": DRAFT} | model.model_json_schema(by_alias=True) | {"examples": payloads}


def schemas() -> dict[str, dict[str, Any]]:
    """File name -> schema."""
    return {
        f"{kind}.json" if kind != "command" else f"command.{model.__name__.lower()}.json": schema(model)
        for kind in KINDS
        for model in models_of(kind)
    }


# --- AsyncAPI ---------------------------------------------------------------------------------------------------------


def asyncapi() -> dict[str, Any]:
    """The AsyncAPI 3.0.0 document, seen from a node."""
    defaults = BusSettings.model_construct()
    mqtt = {"cleanSession": False, "sessionExpiryInterval": defaults.session_expiry_s, "maximumPacketSize": MAX_PAYLOAD}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Emberwatch",
            "version": PREFIX.rpartition("/v")[2] + ".0.0",
            "description": "What an Emberwatch node publishes and understands: JSON at QoS 1, times in ISO 8601 UTC.",
            "license": {"name": "MIT"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "gateway": {
                "host": "{address}:1884",
                "protocol": "mqtt",
                "protocolVersion": "5.0",
                "description": "The node's listener for Home Assistant and third parties; read only.",
                "variables": {"address": {"default": "localhost", "description": "Address of the node."}},
                "security": [{"$ref": "#/components/securitySchemes/user"}],
                "bindings": {"mqtt": mqtt | {"bindingVersion": BINDING}},
            }
        },
        "channels": {kind: _channel(kind) for kind in KINDS},
        "operations": {
            name: operation for kind in KINDS if kind != "reply" for name, operation in _operations(kind).items()
        },
        "components": {
            "messages": {model.__name__: _message(model) for kind in KINDS for model in models_of(kind)},
            "schemas": _components(),
            "securitySchemes": {"user": {"type": "userPassword"}},
        },
    }


def _channel(kind: str) -> dict[str, Any]:
    return {
        "address": address(kind),
        "description": KINDS[kind].what,
        "parameters": {name: {"description": PARAMETERS[name]} for name in ("node", "device", KINDS[kind].name)},
        "messages": {m.__name__: {"$ref": f"#/components/messages/{m.__name__}"} for m in models_of(kind)},
    }


def _operations(kind: str) -> dict[str, dict[str, Any]]:
    """What a node does with a kind; the answer to a request comes back, that to a command goes out."""
    action = "receive" if KINDS[kind].down else "send"
    operation: dict[str, Any] = {
        "action": action,
        "channel": {"$ref": f"#/channels/{kind}"},
        "summary": KINDS[kind].what,
        "bindings": {"mqtt": {"qos": 1, "retain": kind in RETAINED_KINDS, "bindingVersion": BINDING}},
    }
    if kind in ("command", "request"):
        operation["reply"] = {"channel": {"$ref": "#/channels/reply"}}
    return {f"{action}{kind.capitalize()}": operation}


def _message(model: type[Model]) -> dict[str, Any]:
    message: dict[str, Any] = {
        "name": model.__name__,
        "summary": _sentence(model),
        "contentType": "application/json",
        "payload": {"$ref": f"#/components/schemas/{model.__name__}"},
        "examples": examples_of(model),
    }
    if "correlation_id" in model.model_fields:
        message["correlationId"] = {"location": "$message.payload#/correlation_id"}
    return message


def _components() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for kind in KINDS:
        for model in models_of(kind):
            content = model.model_json_schema(by_alias=True, ref_template="#/components/schemas/{model}")
            found |= {name: _draft_7(part) for name, part in content.pop("$defs", {}).items()}
            found[model.__name__] = _draft_7(content)
    return dict(sorted(found.items()))


def _draft_7(part: Any) -> Any:
    """AsyncAPI's schemas are JSON Schema draft 7, where a tuple is spelled `items`."""
    if isinstance(part, dict):
        return {"items" if key == "prefixItems" else key: _draft_7(value) for key, value in part.items()}
    return [_draft_7(value) for value in part] if isinstance(part, list) else part


def _sentence(model: type[Model]) -> str:
    """The docstring without the topic that it begins with."""
    return re.sub(r"^\w+/\{\w+\}[^:]*: ", "", " ".join((model.__doc__ or "").split()))


# --- the page ---------------------------------------------------------------------------------------------------------

_INTRODUCTION: Final = f"""# Messages

Generated by `python -m services.bus.reference` from `services/bus/messages.py`; do not edit. Machine-readable:
[AsyncAPI 3](asyncapi.json), [JSON Schemas](schemas). How streams heal: [streams.md](streams.md).

Every message is JSON in UTF-8 at QoS 1, at most {MAX_PAYLOAD} bytes, under
`{PREFIX}/{{node}}/{{device}}/{{kind}}/{{name}}`.

- Times are ISO 8601 UTC with milliseconds; `mono` is seconds since the publisher started its steady clock.
- `boot` is 16 hex digits drawn at each process start; (topic, `boot`, `seq`) is the identity of a stream message.
- Current is positive when charging; V, A, degC; state of charge 0..1.
- `null` = no reading now; a channel that the layout does not have is not measured; zero is zero.
- Unknown fields are to be ignored; a breaking change is `v2`.
- Retained states may come late or twice: an alarm's `revision` says which is newer, and a Last Will whose `session` is
  not the one of the last `online` is stale.
"""


def page() -> str:
    """docs/messages.md."""
    lines = [_INTRODUCTION, "| topic ends in | direction | retained | stream | what |", "|---|---|---|---|---|"]
    for kind, about in KINDS.items():
        direction = " and ".join(w for w, on in (("up", about.up), ("down", about.down)) if on)
        stream = f"of `{PUBLISHER[kind]}`" if kind in STREAM_KINDS else ""
        retained = "yes" if kind in RETAINED_KINDS else ""
        lines.append(f"| [`{kind}/{{{about.name}}}`](#{kind}) | {direction} | {retained} | {stream} | {about.what} |")
    lines.append("\n*up*: from the node; *down*: to the node.\n")
    parts: dict[str, dict[str, Any]] = {}
    for kind in KINDS:
        lines.append(f"## {kind}\n\n`{address(kind)}`\n")
        for model in models_of(kind):
            content = model.model_json_schema(by_alias=True)
            parts |= content.pop("$defs", {})
            if len(models_of(kind)) > 1:
                lines.append(f"### {model.__name__}\n")
            lines += [f"{_capitalized(_sentence(model))}\n", *_fields(content)]
            for example in examples_of(model):
                lines.append(f"\n{example['name']}\n\n```json\n{_wrapped(example['payload'])}\n```")
            lines.append("")
    lines.append("## Parts\n")
    for name, part in sorted(parts.items()):
        lines += [f"### Part: {name}\n", f"{_capitalized(part.get('description', ''))}\n", *_fields(part), ""]
    return "\n".join(lines)


def _fields(content: dict[str, Any]) -> list[str]:
    required = content.get("required", [])
    rows = ["| field | type | unit | meaning |", "|---|---|---|---|"]
    for name, field in content["properties"].items():
        meaning = field.get("description", "")
        unit = match.group(1) if (match := re.search(r" \[(\w+)\]\.?$", meaning)) else ""
        meaning = re.sub(r" \[\w+\]\.?$", ".", meaning)
        default = "" if name in required else f" Default: {json.dumps(field.get('default'))}."
        if default in (" Default: null.", ' Default: "".'):
            default = " Optional."
        rows.append(f"| `{name}` | {_type(field)} | {unit} | {meaning}{default} |")
    return rows


def _type(field: dict[str, Any]) -> str:
    """A schema in words."""
    if "anyOf" in field:
        kinds = list(dict.fromkeys(_type(part) for part in field["anyOf"]))
        return " or ".join(kinds)
    if "$ref" in field:
        name = field["$ref"].rpartition("/")[2]
        return f"[{name}](#part-{name.lower()})"
    if "const" in field or "enum" in field:
        return ", ".join(f"`{value}`" for value in field.get("enum", [field.get("const")]))
    match field.get("type"):
        case "array" if "prefixItems" in field:
            return "pair of " + _type(field["prefixItems"][0])
        case "array":
            return f"list of {_type(field['items'])}"
        case "object":
            parts = [*field.get("patternProperties", {}).values(), field.get("additionalProperties")]
            values = [_type(part) for part in parts if isinstance(part, dict)]
            return f"object of {values[0]}" if values else "object"
        case "string" if field.get("format") == "date-time":
            return "time"
        case kind:
            return str(kind or "any")


def _wrapped(payload: dict[str, Any]) -> str:
    """JSON with one line a field."""
    return "{\n" + ",\n".join(f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in payload.items()) + "\n}"


def _capitalized(text: str) -> str:
    return text[:1].upper() + text[1:]


# --- files ------------------------------------------------------------------------------------------------------------


def files() -> dict[str, str]:
    """Path below docs/ -> content."""
    documents = {"asyncapi.json": asyncapi()} | {f"schemas/{name}": content for name, content in schemas().items()}
    written = {path: json.dumps(content, indent=1, ensure_ascii=False) + "\n" for path, content in documents.items()}
    return written | {"messages.md": page()}


def main(docs: Path = DOCS) -> int:
    (docs / "schemas").mkdir(parents=True, exist_ok=True)
    for stale in (docs / "schemas").glob("*.json"):
        stale.unlink()
    for path, content in files().items():
        (docs / path).write_text(content, encoding="utf-8")
    print(f"{docs}: asyncapi.json, messages.md, {len(schemas())} schemas")
    return 0


if __name__ == "__main__":
    sys.exit(main())
