"""Finds the types a job class was given, such as `[Push, Digest]`."""

from typing import Any, TypeVar, get_args, get_origin


def type_arguments(cls: type[Any], base: type[Any]) -> tuple[Any, ...] | None:
    """The arguments with which `cls` derives from the generic `base`, through any classes between.

    Returns None where `cls` derives from it without arguments.
    """
    for parent in getattr(cls, "__orig_bases__", ()):
        found = _through(parent, base)
        if found is not None:
            return found
    for parent in cls.__bases__:
        if parent is not base and issubclass(parent, base):
            found = type_arguments(parent, base)
            if found is not None:
                return found
    return None


def _through(parent: Any, base: type[Any]) -> tuple[Any, ...] | None:
    origin = get_origin(parent)
    if origin is base:
        return _with_defaults(get_args(parent), base)
    if not (isinstance(origin, type) and issubclass(origin, base)):
        return None
    inherited = type_arguments(origin, base)
    if inherited is None:
        return None
    parameters = getattr(origin, "__parameters__", ())
    given = dict(zip(parameters, get_args(parent), strict=False))
    return tuple(_filled(argument, given) for argument in inherited)


def open_parameters(kind: Any) -> tuple[Any, ...]:
    """The type variables still open inside a type, such as `State` in `list[State]`."""
    # A class that is generic itself and was given nothing is no open type.
    given = get_origin(kind) is not None or _of_model(kind).get("origin") is not None
    return _parameters(kind) if given else ()


def _parameters(kind: Any) -> tuple[Any, ...]:
    return _of_model(kind).get("parameters") or getattr(kind, "__parameters__", ())


def _of_model(kind: Any) -> dict[str, Any]:
    return getattr(kind, "__pydantic_generic_metadata__", {})


def _filled(argument: Any, given: dict[Any, Any]) -> Any:
    # Types such as Annotated[int, Field(gt=0)] have no hash.
    if isinstance(argument, TypeVar):
        return given.get(argument, argument)
    # With its own variable, pydantic's Box[State] is Box itself.
    inside = _parameters(argument) if _of_model(argument) else open_parameters(argument)
    return argument[tuple(given.get(item, item) for item in inside)] if inside else argument


def _with_defaults(given: tuple[Any, ...], base: type[Any]) -> tuple[Any, ...]:
    # typing fills in defaults from 3.13 on only.
    parameters: tuple[Any, ...] = getattr(base, "__parameters__", ())
    missing = (_default(parameter) for parameter in parameters[len(given) :])
    filled: list[Any] = [*given, *missing]
    bound: dict[Any, Any] = dict(zip(parameters, filled, strict=False))
    return tuple(bound.get(item, item) if isinstance(item, TypeVar) else item for item in filled)


def _default(parameter: Any) -> Any:
    default = getattr(parameter, "__default__", None)
    return type(None) if default is None else default
