"""Reading the small parts of the `.mzi` text form: words, numbers, lists, arrays."""

from collections.abc import Callable, Mapping
from typing import Any, NoReturn, TypeVar

import numpy as np
import numpy.typing as npt

from onnx2mzi.errors import InputError
from onnx2mzi.ir.lexer import Source, Token, string_value, tokens
from onnx2mzi.ir.printer import DTYPES

# No array that is spelled out may be larger: a short text must not ask for all memory.
LIMIT = 1 << 28
INT32 = (-(2**31), 2**31 - 1)

T = TypeVar("T")
# The dtype is checked where the array is read; numpy's types cannot carry it further.
Array = npt.NDArray[Any]


class Reader:
    """Words, numbers, lists and arrays; every method reads one and goes behind it.

    Raises InputError with file:line:column where something else stands.
    """

    def __init__(self, source: Source, arrays: Mapping[str, Array]) -> None:
        self._source = source
        self._arrays = arrays
        self._tokens = tokens(source)
        self._at = 0

    # ---- words ----------------------------------------------------------------------------

    @property
    def here(self) -> Token:
        return self._tokens[self._at]

    def fail(self, expected: str) -> NoReturn:
        raise self.refuse(self.here, f"expected {expected}, found {self.here}")

    def refuse(self, token: Token, message: str) -> InputError:
        return self._source.error(token.offset, message)

    def take(self) -> Token:
        token = self.here
        self._at += 1
        return token

    def accept(self, text: str) -> bool:
        """Pass `text` if it is next and not a string literal."""
        if self.here.text != text or self.here.kind == "string":
            return False
        self._at += 1
        return True

    def expect(self, *texts: str) -> None:
        for text in texts:
            if not self.accept(text):
                self.fail(f"'{text}'")

    def word(self, what: str) -> str:
        if self.here.kind != "word":
            self.fail(what)
        return self.take().text

    def string(self, what: str) -> str:
        if self.here.kind != "string":
            self.fail(f"{what} in quotes")
        return string_value(self._source, self.take())

    def choice(self, choices: Mapping[str, T]) -> T:
        if self.here.text not in choices or self.here.kind == "string":
            names = [f"'{name}'" for name in choices]
            self.fail(" or ".join(filter(None, [", ".join(names[:-1]), names[-1]])))
        return choices[self.take().text]

    def integer(self, what: str, low: int = 0, high: int = INT32[1]) -> int:
        token = self.here
        if token.kind != "number" or not token.text.lstrip("-").isdigit():
            self.fail(what)
        self._at += 1
        return self.within(token, token.text, what, low, high)

    def within(self, token: Token, digits: str, what: str, low: int, high: int) -> int:
        value = int(digits) if len(digits) < 20 else high + 1
        if not low <= value <= high:
            raise self.refuse(token, f"{what} must be in {low}..{high}, not {token.text}")
        return value

    def place(self, letter: str, what: str) -> int:
        """`c3` or `p3`."""
        token = self.here
        digits = token.text[1:]
        wellformed = token.kind == "word" and token.text[0] == letter
        if not wellformed or not digits.removeprefix("-").isdecimal():
            self.fail(f"{what} such as '{letter}3'")
        self._at += 1
        return self.within(token, digits, what, *INT32)

    def real(self, what: str) -> float:
        if self.here.kind != "number":
            self.fail(what)
        return float(self.take().text)

    def complex_number(self) -> complex:
        self.expect("(")
        real = self.real("a real part")
        self.expect(",")
        imag = self.real("an imaginary part")
        self.expect(")")
        return complex(real, imag)

    def many(self, item: Callable[[], T]) -> list[T]:
        """`{ item ... }`."""
        self.expect("{")
        items: list[T] = []
        while not self.accept("}"):
            if self.here.kind == "end":
                self.fail("'}'")
            items.append(item())
        return items

    def listed(self, item: Callable[[], T]) -> list[T]:
        """`[item, ...]`."""
        self.expect("[")
        items: list[T] = []
        while not self.accept("]"):
            if items:
                self.expect(",")
            items.append(item())
        return items

    # ---- arrays ---------------------------------------------------------------------------

    def array(self, *allowed: str) -> Array:
        head = self.here
        dtype = self.choice({name: name for name in allowed})
        shape = tuple(self.listed(lambda: self.integer("a dimension")))
        size = 1
        for dimension in shape:
            size *= dimension
        if self.here.text == "@":
            run = self.reference({"": (dtype, size)})[""]
            return run.reshape(shape)
        if size > LIMIT:
            raise self.refuse(head, f"an array of {size} entries must be beside the text")
        return self.entries(head, dtype, size).reshape(shape)

    def entries(self, head: Token, dtype: str, size: int) -> Array:
        if self.accept("all"):
            return np.full(size, self.entry(dtype), DTYPES[dtype])
        if self.here.text == "[":
            values = self.listed(lambda: self.entry(dtype))
        else:
            first, last = self.run()
            if last - first != size:
                raise self.refuse(head, f"the range has {last - first} entries, not {size}")
            return np.arange(first, last, dtype=np.int32)
        if len(values) != size:
            raise self.refuse(head, f"the list has {len(values)} entries, not {size}")
        return np.array(values, DTYPES[dtype])

    def run(self) -> tuple[int, int]:
        if self.here.kind != "number":
            self.fail("'[', 'all', '@' or a range")
        first = self.integer("the first of a range", *INT32)
        self.expect("..")
        return first, self.integer("the end of a range", INT32[0], 2**31)

    def entry(self, dtype: str) -> complex | float | int:
        if dtype == "c128":
            return self.complex_number()
        if dtype == "f64":
            return self.real("a number")
        if dtype == "u8":
            return self.integer("a byte", 0, 255)
        return self.integer("an index", *INT32)

    def reference(self, fields: Mapping[str, tuple[str, int]]) -> dict[str, Array]:
        """`@pool[start:stop]`: a run of every array `pool.field`, of known dtype and length."""
        head = self.here
        self.expect("@")
        pool = self.word("the name of an array")
        while self.accept("."):
            pool += f".{self.word('the rest of the name')}"
        self.expect("[")
        start = self.integer("a start", 0, 2**62)
        self.expect(":")
        stop = self.integer("a stop", 0, 2**62)
        self.expect("]")
        found: dict[str, Array] = {}
        for field, (dtype, size) in fields.items():
            name = f"{pool}.{field}" if field else pool
            if stop - start != size:
                raise self.refuse(head, f"{stop - start} entries of {name}, not {size}")
            array = self._arrays.get(name)
            if array is None:
                raise self.refuse(
                    head, f"there is no array '{name}' in the .npz of the same name beside the text"
                )
            if array.dtype != DTYPES[dtype] or array.ndim != 1:
                kind = f"{array.dtype} of shape {array.shape}"
                raise self.refuse(head, f"array '{name}' is {kind}, not a row of {dtype}")
            if stop > len(array):
                raise self.refuse(head, f"array '{name}' ends at {len(array)}")
            found[field] = array[start:stop]
        return found
