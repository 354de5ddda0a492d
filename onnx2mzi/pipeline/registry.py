"""Names to classes: an explicit table, what a user's script adds, and installed plug-ins.

Nothing is imported before its name is asked for. Two things of one name are an error that names
both, never a silent winner.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, TypeVar

from onnx2mzi.errors import UsageError
from onnx2mzi.pipeline.options import BadValue, checked
from onnx2mzi.pipeline.spec import ItemText, build, parse_items, suggestion

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Registry(Generic[T]):
    """All classes of one `kind` ("pass", "back end"): subclasses of `base` that have a `name`.

    `table` maps names to "module:Class"; `group` is the entry-point group of plug-ins. `added`
    holds what `register` was given in this process.
    """

    kind: str
    base: type[T]
    group: str
    table: Mapping[str, str]
    added: dict[str, type[T]] = field(default_factory=dict)

    def names(self) -> list[str]:
        """Every name, sorted; imports nothing."""
        return sorted({*self.table, *self.added, *(point.name for point in self._points())})

    def origin(self, name: str) -> str:
        """Where the class of this name comes from: a distribution or a module."""
        rivals = self._rivals(name)
        if not rivals:
            raise self._unknown(name)
        if len(rivals) > 1:
            raise self._duplicate(name, rivals)
        return rivals[0]

    def get(self, name: str) -> type[T]:
        """The class of this name. Raises UsageError if there is none, two, or a wrong one."""
        where = self.origin(name)
        if name in self.added:
            return self.added[name]
        if name in self.table:
            module, _, attribute = self.table[name].partition(":")
            loaded = getattr(import_module(module), attribute)
        else:
            (point,) = (point for point in self._points() if point.name == name)
            try:
                loaded = point.load()
            except Exception as error:
                raise UsageError(
                    f"{self.kind} '{name}' cannot be loaded: {type(error).__name__}: {error}",
                    where=where,
                    hint="repair or uninstall this plug-in",
                ) from error
        self._check(loaded, name, where)
        return loaded  # type: ignore[no-any-return]

    def register(self, cls: type[T]) -> type[T]:
        """Add a class under its `name` and return it (a decorator).

        The same class defined again (a notebook cell run twice) replaces itself; any other
        clash of names is a UsageError.
        """
        name = getattr(cls, "name", None)
        where = f"{cls.__module__}.{cls.__qualname__}"
        if not isinstance(name, str) or not name:
            raise UsageError(
                f"a {self.kind} needs a name",
                where=where,
                hint='add the line: name: ClassVar[str] = "my-name"',
            )
        self._check(cls, name, where)
        old = self.added.get(name)
        again = old is not None and f"{old.__module__}.{old.__qualname__}" == where
        if not again and (rivals := self._rivals(name)):
            raise self._duplicate(name, [*rivals, where])
        self.added[name] = cls
        return cls

    def make(self, item: ItemText) -> T:
        """The instance that a parsed item stands for."""
        try:
            cls = self.get(item.name)
        except _UnknownName as unknown:
            raise item.error(unknown.message, unknown.hint) from None
        return build(item, cls)

    def parse(self, text: str) -> tuple[T, ...]:
        """The instances of a whole text. Raises SpecError, which points at the mistake."""
        return tuple(self.make(item) for item in parse_items(text))

    def _points(self) -> list[EntryPoint]:
        return list(entry_points(group=self.group))

    def _rivals(self, name: str) -> list[str]:
        rivals = ["onnx2mzi"] if name in self.table else []
        if name in self.added:
            cls = self.added[name]
            rivals.append(f"{cls.__module__}.{cls.__qualname__}")
        rivals += sorted(_distribution(point) for point in self._points() if point.name == name)
        return rivals

    def _check(self, loaded: object, name: str, where: str) -> None:
        if not (isinstance(loaded, type) and issubclass(loaded, self.base)):
            raise UsageError(
                f"{self.kind} '{name}' is no subclass of {self.base.__name__}", where=where
            )
        if getattr(loaded, "name", None) != name:
            raise UsageError(
                f"{self.kind} '{name}' calls itself '{getattr(loaded, 'name', '')}'", where=where
            )
        if not hasattr(loaded, "__dataclass_fields__"):
            raise UsageError(
                f"{self.kind} '{name}' is no dataclass",
                where=where,
                hint="write @dataclass(frozen=True) above the class",
            )

    def _unknown(self, name: str) -> "_UnknownName":
        return _UnknownName(
            f"there is no {self.kind} '{name}'",
            hint=suggestion(name, self.names(), "there are"),
        )

    def _duplicate(self, name: str, rivals: list[str]) -> UsageError:
        return UsageError(
            f"{self.kind} '{name}' is there {len(rivals)} times: from {' and '.join(rivals)}",
            hint="rename or uninstall one of them",
        )


class _UnknownName(UsageError):
    """A name that no table has."""


def checked_options(made: T) -> T:
    """The instance, if its options are legal. Raises UsageError: made in Python, not in text."""
    try:
        return checked(made)
    except BadValue as bad:
        raise UsageError(str(bad), where=str(getattr(made, "name", type(made).__name__))) from None


def _distribution(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist else point.value
