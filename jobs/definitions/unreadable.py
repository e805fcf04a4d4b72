"""What a type alone shows to be written to JSON as something that it does not read back."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from .schemas import Node, children, fields_of, read_names

_REWRITING = {"function-before", "function-wrap", "function-plain", "union", "tagged-union"}
"""Below these a value may be read in a way that the schema does not tell."""


@dataclass(frozen=True, slots=True)
class _Place:
    """How a part of a schema was come to."""

    owner: str
    config: Node = field(default_factory=dict[str, Any])
    rewritten: bool = False


def faults_of_type(schema: Node, label: str) -> list[str]:
    """What no value of the type could survive, with the class and the field, and what to do.

    What has a serializer of the user's is left out: only its values tell.
    """
    return list(dict.fromkeys(_Reader().faults(schema, _Place(label))))


class _Reader:
    def __init__(self) -> None:
        self._definitions: dict[str, Node] = {}
        self._seen: set[tuple[str, bool]] = set()

    def faults(self, node: Node, place: _Place) -> Iterator[str]:
        """The faults of a part and of all within it."""
        if "serialization" in node:
            if _hides(node["serialization"]):
                yield f"{place.owner} is a secret, of which JSON shows stars; {_HIDDEN}"
            return
        if node["type"] == "definitions":
            self._definitions.update({each["ref"]: each for each in node["definitions"]})
            yield from self.faults(node["schema"], place)
        elif node["type"] == "definition-ref":
            yield from self._defined(node["schema_ref"], place)
        else:
            yield from self._inside(node, _below(node, place))

    def _defined(self, ref: str, place: _Place) -> Iterator[str]:
        if (ref, place.rewritten) not in self._seen:
            self._seen.add((ref, place.rewritten))
            yield from self.faults(self._definitions[ref], place)

    def _inside(self, node: Node, place: _Place) -> Iterator[str]:
        if node["type"] == "json" and not place.rewritten:
            yield f"{place.owner} is a Json type, which is read from text; give its inner type"
            return
        fields = fields_of(node)
        if not fields:
            for child in children(node):
                yield from self.faults(child, place)
            return
        if not place.rewritten:
            yield from _faults_of_computed(node, place)
        for name, each in fields.items():
            yield from self._of_field(name, each, place)

    def _of_field(self, name: str, node: Node, place: _Place) -> Iterator[str]:
        inner = replace(place, owner=f"{place.owner}.{name}", config={})
        if not place.rewritten and (fault := _fault_of_field(name, node, place)):
            yield f"{inner.owner} {fault}"
        elif not node.get("serialization_exclude"):
            yield from self.faults(node["schema"], inner)


_HIDDEN = "keep it elsewhere, or write a serializer for it"


def _hides(serialization: Node) -> bool:
    function = serialization.get("function")
    name = getattr(function, "__name__", "")
    return (
        getattr(function, "__module__", "") == "pydantic.types" and name.startswith("_serialize")
    ) and "secret" in name


def _below(node: Node, place: _Place) -> _Place:
    if node["type"] in ("model", "dataclass", "typed-dict", "named-tuple"):
        place = replace(place, owner=node["cls"].__qualname__, config=node.get("config", {}))
    rewritten = node["type"] in _REWRITING or node.get("custom_init", False)
    return replace(place, rewritten=True) if rewritten else place


def _faults_of_computed(node: Node, place: _Place) -> Iterator[str]:
    extra = node.get("extra_behavior") or place.config.get("extra_fields_behavior", "ignore")
    if extra == "ignore":
        return
    for each in node.get("computed_fields", []):
        yield (
            f"{place.owner}.{each['property_name']} is computed, and would be read back as a "
            f"field too many (extra={extra!r}); make it a plain property"
        )


def _fault_of_field(name: str, node: Node, place: _Place) -> str | None:
    required = node.get("required", node["schema"]["type"] != "default")
    if node.get("init_only"):
        return "is an InitVar, which is not kept; make it a field" if required else None
    if node.get("serialization_exclude"):
        return "is excluded and required; give it a default, or include it" if required else None
    written, read = node.get("serialization_alias", name), _read_as(name, node, place)
    if [written] in read:
        return None
    shown = " or ".join(repr(".".join(map(str, path))) for path in read)
    return f"is written as {written!r} and read as {shown}; give it one alias for both"


def _read_as(name: str, node: Node, place: _Place) -> list[list[str | int]]:
    config = place.config
    aliases = read_names(node)
    by_name = config.get("validate_by_name") or config.get("populate_by_name")
    if config.get("validate_by_alias") is False:
        return [[name]]
    return [*aliases, [name]] if by_name or not aliases else aliases
