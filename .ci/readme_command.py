"""Print one of the README's set-up commands: the line after ``<!-- command: NAME -->``."""

import sys
from pathlib import Path


def readme_commands(text: str) -> dict[str, str]:
    """Return the marked commands of a README by name.

    A marker stands on a line of its own; a fenced block of exactly one line follows it.
    Raises ValueError where a block has more lines or a name occurs twice.
    """
    lines = text.splitlines()
    found: dict[str, str] = {}
    for number, line in enumerate(lines):
        if not line.startswith("<!-- command: "):
            continue
        name = line.removeprefix("<!-- command: ").removesuffix(" -->")
        block = lines[number + 1 : number + 4]
        fenced = len(block) == 3 and block[0].startswith("```") and block[2] == "```"
        if not fenced or name in found:
            raise ValueError(
                f"README line {number + 1}: expected one fenced line for {name!r}, once"
            )
        found[name] = block[1]
    return found


if __name__ == "__main__":
    readme = Path(__file__).parent.parent / "README.md"
    print(readme_commands(readme.read_text(encoding="utf-8"))[sys.argv[1]])
