"""What pydantic's core schema of a type tells of it."""

from collections.abc import Iterator
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


def compares_wholly(schema: Node) -> bool:
    """Whether `==` of such values looks at all they hold: an `__eq__` of the user's may not."""
    classes = [node["cls"] for node in all_nodes(schema) if node["type"] in ("model", "dataclass")]
    return all(cls.__eq__ in _WHOLE for cls in classes)


def is_plain(schema: Node) -> bool:
    """Whether what the type lets pass is JSON as it is: most events are an id or a number."""
    return schema["type"] in ("bool", "int", "str") and "serialization" not in schema
