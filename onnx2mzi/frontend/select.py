"""Which nodes the user wants on the chip: --only and --exclude."""

from collections.abc import Collection
from difflib import get_close_matches
from fnmatch import fnmatchcase

from onnx2mzi.errors import UsageError


class Selection:
    """Nodes by name, layer name or pattern (`*`, `?`); remembers which words were of use."""

    def __init__(self, only: Collection[str], exclude: Collection[str]) -> None:
        self._only = tuple(only)
        self._exclude = tuple(exclude)
        self._unused = {*only, *exclude}
        self._seen: list[str] = []

    def refused(self, *names: str) -> str:
        """Why a node of these names is not wanted, or nothing."""
        self._seen.extend(names)
        only = self._matches(self._only, names)
        exclude = self._matches(self._exclude, names)
        if exclude:
            return "excluded by --exclude"
        return "not among --only" if self._only and not only else ""

    def excluded(self, name: str) -> bool:
        """Whether --exclude names this node, which is no linear one."""
        self._seen.append(name)
        return self._matches(self._exclude, (name,))

    def _matches(self, words: tuple[str, ...], names: tuple[str, ...]) -> bool:
        found = [w for w in words if any(w == name or fnmatchcase(name, w) for name in names)]
        self._unused.difference_update(found)
        return bool(found)

    def finish(self, where: str) -> None:
        """Raises UsageError for a word that no linear node answered to."""
        if self._unused:
            word = min(self._unused)
            raise UsageError(
                f"no linear node is called '{word}'", where=where, hint=self._meant(word)
            )

    def _meant(self, word: str) -> str:
        parts = [part.strip() for part in word.split(",")]
        if len(parts) > 1 and any(part in self._seen for part in parts):
            option = "--exclude" if word in self._exclude else "--only"
            return "once for each node: " + " ".join(f"{option} {part}" for part in parts)
        near = get_close_matches(word, self._seen, 1) or self._seen[:1]
        return f"did you mean '{near[0]}'?" if near else ""
