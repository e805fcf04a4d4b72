"""What pydantic's core schema of a type tells of it."""

from collections.abc import Callable, Iterator
from operator import attrgetter
from typing import Any, cast

from pydantic import BaseModel, RootModel

Node = dict[str, Any]
"""A part of a core schema: it has a `type` and, by that, parts of its own."""

_WHOLE: tuple[Any, ...] = (BaseModel.__eq__, RootModel[Any].__eq__)
_NO_NODES = {"metadata", "serialization", "config", "default", "computed_fields"}


def children(node: Node) -> Iterator[Node]:
    """The parts of a part, one level down."""
    for name, value in node.items():
        if name not in _NO_NODES:
            yield from _nodes_in(value)


def _nodes_in(value: Any) -> Iterator[Node]:
    if isinstance(value, dict):
        if isinstance(value.get("type"), str):  # pyright: ignore[reportUnknownMemberType]
            yield value
        else:
            for each in value.values():  # pyright: ignore[reportUnknownVariableType]
                yield from _nodes_in(each)
    elif isinstance(value, list | tuple):
        for each in value:  # pyright: ignore[reportUnknownVariableType]
            yield from _nodes_in(each)


def all_nodes(node: Node) -> Iterator[Node]:
    """A part and all within it."""
    yield node
    for child in children(node):
        yield from all_nodes(child)


def fields_of(node: Node) -> dict[str, Node]:
    """The fields of a model, a dataclass, a typed dict or a named tuple; none of another part."""
    fields: Any = node.get("arguments_schema" if node["type"] == "arguments" else "fields", {})
    if isinstance(fields, dict):
        return cast("dict[str, Node]", fields)
    # The node of a dataclass has a list of names besides.
    listed = cast("list[Node | str]", fields)
    return {each["name"]: each for each in listed if not isinstance(each, str)}


def read_names(field: Node) -> list[list[str | int]]:
    """The paths by which a field is read; none where it is read by its own name alone."""
    alias = field.get("validation_alias") or field.get("alias")
    if alias is None:
        return []
    if isinstance(alias, str):
        return [[alias]]
    return alias if isinstance(alias[0], list) else [alias]


def words_in(schema: Node) -> frozenset[str]:
    """The names of fields, members and classes: words of the code, not of a value."""
    found = {"[key]"}
    for node in all_nodes(schema):
        found.update((node["type"], getattr(node.get("cls"), "__name__", "")))
        if node["type"] == "tagged-union":
            found.update(map(str, node["choices"]))
        for name, field in fields_of(node).items():
            found.update((name, field.get("serialization_alias", name)))
            found.update(str(part) for path in read_names(field) for part in path)
    return frozenset(found - {""})


def quick_look(schema: Node) -> Callable[[Any], Any] | None:
    """What two values of the type are the same by, if it is `==`; None where that shows too little.

    An `__eq__` of the user's may leave out part of what a value holds.
    """
    inner = children(schema) if schema["type"] in _HOLDING else (schema,)
    within = [node for each in inner for node in all_nodes(each) if node["type"] in _HOLDING]
    if not all(node["cls"].__eq__ in _WHOLE for node in within):
        return None
    if schema["type"] == "dataclass" and schema.get("slots"):
        return None
    return _HOLDING.get(schema["type"], _itself)


def _itself(value: Any) -> Any:
    return value


_HOLDING = {
    # Of a model its own `==` looks at these, and takes longer.
    "model": attrgetter("__dict__", "__pydantic_extra__", "__pydantic_private__"),
    "dataclass": attrgetter("__dict__"),
}


def class_of(schema: Node) -> type[Any] | None:
    """The class of which an instance is valid as it is: it was judged when it was made."""
    judged_again = schema.get("config", {}).get("revalidate_instances", "never") != "never"
    return schema["cls"] if schema["type"] in _HOLDING and not judged_again else None


def is_plain(schema: Node) -> bool:
    """Whether what the type lets pass is JSON as it is: most events are an id or a number."""
    return schema["type"] in ("bool", "int", "str") and "serialization" not in schema
