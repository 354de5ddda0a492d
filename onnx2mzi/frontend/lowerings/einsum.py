"""Einsum of a constant and what is computed at run time.

Letters of the constant fall into three kinds. Those that the other operand has and the result
has not are summed over: the columns of W. Those that only the constant has are its rows. Those
that all three have count a stack of matrices, a layer each. "bsd,dhk->bshk" is one W of shape
(h k, d); "bhk,hkd->bd" one of shape (d, h k); "bhk,hkd->bhd" is a stack of h.
"""

import math
from dataclasses import dataclass
from typing import cast

import numpy as np
from onnx import NodeProto, helper

from onnx2mzi.frontend.attributes import attribute
from onnx2mzi.frontend.lowerings.base import (
    MOST_PARTS,
    Lowered,
    Part,
    Scope,
    Stays,
    matrix64,
    numbered,
    reshaped,
    unsuited,
)
from onnx2mzi.ir import View

_REST = "..."


@dataclass(frozen=True, slots=True)
class _Terms:
    """The letters of the operands and the result; "..." counts as one of them."""

    operands: tuple[tuple[str, ...], ...]
    result: tuple[str, ...]


def lower_einsum(node: NodeProto, scope: Scope) -> Lowered | Stays | None:
    """W, shape (m, n), for every matrix in the constant operand of two."""
    names = list(node.input)
    if not names or not all(names):
        raise scope.error("an Einsum has an operand without a name")
    terms = _terms(node, scope)
    if len(names) == 1 or all(map(scope.constants.static, names)):
        return None
    if len(names) > 2:
        return Stays(f"it multiplies {len(names)} operands at once")
    weights = [scope.weight(name) for name in names]
    which = 1 if weights[1] is not None else 0
    weight = weights[which]
    if weight is None:
        return scope.no_constant(names)
    return unsuited(weight) or _lowered(node, weight, which, terms, scope)


def _lowered(
    node: NodeProto, weight: np.ndarray, which: int, terms: _Terms, scope: Scope
) -> Lowered | Stays:
    name, source = node.input[which], node.input[1 - which]
    mine, other = terms.operands[which], terms.operands[1 - which]
    if any(len(set(letters)) < len(letters) for letters in terms.operands):
        return Stays("it takes the diagonal of an operand")
    if _REST in mine:
        if weight.ndim != len(mine) - 1:
            return Stays("its weight has dimensions without a letter")
        # onnxruntime's shape inference crashes on some of these.
        if _REST in other and scope.ranks.get(source, len(other) - 1) != len(other) - 1:
            raise scope.error("'...' in its equation stands for other dimensions in each operand")
        mine = tuple(letter for letter in mine if letter != _REST)
    if weight.ndim != len(mine):
        raise scope.error(f"weight '{name}' has shape {list(weight.shape)} for '{''.join(mine)}'")
    # What only the constant has is summed here; an axis of length 1 meets every index.
    gone = [k for k, letter in enumerate(mine) if letter not in (*other, *terms.result)]
    weight = weight.sum(axis=tuple(gone), dtype=np.float64).astype(weight.dtype)
    mine = tuple(letter for k, letter in enumerate(mine) if k not in gone)
    unit = [k for k, letter in enumerate(mine) if weight.shape[k] == 1 and letter in other]
    weight = weight.squeeze(tuple(unit))
    mine = tuple(letter for k, letter in enumerate(mine) if k not in unit)
    summed = [letter for letter in mine if letter not in terms.result]
    if not summed:
        return Stays("it sums over nothing that both operands have")
    stack = [letter for letter in mine if letter in other and letter in terms.result]
    rows = [letter for letter in mine if letter not in other]
    size = dict(zip(mine, weight.shape, strict=True))
    order = [*stack, *rows, *summed]
    lengths = [[size[letter] for letter in group] for group in (stack, rows, summed)]
    count, m, n = map(math.prod, lengths)
    if count > MOST_PARTS:
        return Stays(f"its weight is a stack of {count} matrices, more than {MOST_PARTS}")
    matrices = weight.transpose([mine.index(letter) for letter in order]).reshape(count, m, n)
    axes = [_axis(letter, other) for letter in summed]
    places = [_axis(letter, other) for letter in stack]
    parts = tuple(
        Part(
            matrix64(matrices[k]),
            source,
            axes[0],
            False,
            weight.dtype.name,
            name,
            numbered(k, count),
            View(
                more_axes=tuple(axes[1:]),
                at=tuple(zip(places, map(int, np.unravel_index(k, lengths[0])), strict=True))
                if stack
                else (),
            ),
            (k, count),
        )
        for k in range(count)
    )
    before, shape, fed = reshaped(scope, scope.binding(), tuple(size[x] for x in order))
    equation = f"{''.join(other)},{''.join(order)}->{''.join(terms.result)}"
    product = helper.make_node(
        "Einsum", [source, fed], list(node.output), name=node.name, equation=equation
    )
    return Lowered(parts, (before, product), (shape,))


def _axis(letter: str, letters: tuple[str, ...]) -> int:
    """The letter's axis, counted from the end unless "..." lies in between."""
    at = letters.index(letter)
    return at if _REST in letters[at:] else at - len(letters)


def _terms(node: NodeProto, scope: Scope) -> _Terms:
    """Raises InputError for an equation that is none."""
    found = attribute(node, "equation")
    text = "" if found is None else found.s.decode("utf-8", "replace")
    plain = text.replace(" ", "")
    left, arrow, right = plain.partition("->")
    operands = [_letters(term) for term in left.split(",")]
    letters = [letter for term in operands if term for letter in term]
    if arrow:
        result = _letters(right)
    else:
        once = sorted({x for x in letters if letters.count(x) == 1} - {_REST})
        result = ((_REST,) if _REST in letters else ()) + tuple(once)
    wrong = (
        len(operands) != len(node.input)
        or result is None
        or None in operands
        or len(set(result)) < len(result)
        or not set(result) <= set(letters)
    )
    if wrong:
        raise scope.error(f"its equation '{text}' is none for {len(node.input)} operands")
    return _Terms(cast(tuple[tuple[str, ...], ...], tuple(operands)), result or ())


def _letters(term: str) -> tuple[str, ...] | None:
    """The letters of one operand, "..." one of them; None if there is anything else."""
    head, rest, tail = term.partition(_REST)
    if not all(c.isascii() and c.isalpha() for c in head + tail):
        return None
    return (*head, *((_REST,) if rest else ()), *tail)
