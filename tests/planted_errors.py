"""Which errors tests/mutants.py can plant in a backward: the source of a module, rewritten in one place.

- term: a term of a sum or difference is dropped, or an addition to something as a whole;
- sign: + for -, - for +, a minus left out, a result negated;
- axis: the axes of a sum, of transpose or swapaxes are others, a .T is missing;
- assign: = for +=, or for np.add.at;
- index: a bound, an index or a bin is off by one, < stands for <=;
- mask: a factor, a condition, a limit by maximum or clip is missing;
- factor: twice as much, or a division left out.

In readers and training, which have no backwards, in all functions:
- index and mask, as above;
- compare: == for !=, `in` for `not in`, `is` for `is not`;
- raise: a check that never fails.
"""

import ast
import contextlib
import itertools
import re
from typing import NamedTuple

KINDS = ("term", "sign", "axis", "assign", "index", "mask", "factor")
OF_CHECKS = ("index", "mask", "compare", "raise")
OPPOSITE = {ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot,
            ast.IsNot: ast.Is}  # fmt: skip


class Mutant(NamedTuple):
    """One planted error: `before` is the text replaced, `source` the whole file with `after` in its place."""

    file: str
    line: int
    kind: str
    text: str  # the original line, stripped
    before: str
    after: str
    source: str

    @property
    def module(self) -> str:
        return self.file.removesuffix(".py").replace("/", ".")


def mutants(file: str, source: str, roots: set[str] = frozenset(), kinds=KINDS) -> list[Mutant]:
    """Every error that can be planted in the backwards of this source, and in functions named in `roots`."""
    nodes = [node for function in reached(ast.parse(source), roots) for node in nodes_of(function)]
    return planted(file, source, [change for node in nodes for change in changes(node) if change[0] in kinds])


def mutants_of_checks(file: str, source: str, kinds=OF_CHECKS) -> list[Mutant]:
    """Every error that can be planted in the functions of a reader, or of training."""
    functions = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)]
    nodes = {id(node): node for function in functions for node in nodes_of(function, raising=True)}.values()
    found = [change for node in nodes for way in (changes, changes_of_checks) for change in way(node)]
    return planted(file, source, [change for change in found if change[0] in kinds])


def planted(file: str, source: str, wanted: list[tuple[str, ast.AST, ast.AST]]) -> list[Mutant]:
    """A mutant for each of the changes (kind, the node to replace, the node that replaces it) that compiles."""
    lines, found = source.encode().splitlines(keepends=True), {}
    starts = [0, *itertools.accumulate(map(len, lines))]
    for kind, old, new in wanted:
        begin, end = (
            starts[line - 1] + column
            for line, column in ((old.lineno, old.col_offset), (old.end_lineno, old.end_col_offset))
        )
        after = ast.unparse(new)
        if isinstance(new, (ast.BinOp, ast.UnaryOp, ast.Compare, ast.BoolOp, ast.IfExp)):
            after = f"({after})"
        whole = source.encode()
        before, text = whole[begin:end].decode(), (whole[:begin] + after.encode() + whole[end:]).decode()
        own = lines[old.lineno - 1].decode().strip()
        if text not in found and compiles(text):
            found[text] = Mutant(file, old.lineno, kind, own, before, after, text)
    return sorted(found.values(), key=lambda m: m.line)


def compiles(source: str) -> bool:
    with contextlib.suppress(SyntaxError):
        return bool(ast.parse(source))
    return False


def is_root(function: ast.FunctionDef) -> bool:
    """Whether it is a backward, by its name, or a loss, by the type it returns."""
    returns = ast.unparse(function.returns) if function.returns else ""
    return any(word in function.name for word in ("backward", "gradient")) or returns.startswith("tuple[float, ")


# Functions that check, that are forwards, and two kinds in which errors change no result: those that cut work into
# pieces, and those that choose between ways to compute the same.
LEFT_OUT = "check", "forward", "chunks", "tiles", "pieces", "suits", "operations"


def reached(tree: ast.Module, roots: set[str] = frozenset()) -> list[ast.FunctionDef]:
    """The functions and methods that are backwards, or in `roots`, and those of the same module they call."""
    functions = {}
    for owner in (tree, *(node for node in tree.body if isinstance(node, ast.ClassDef))):
        for node in owner.body:
            if isinstance(node, ast.FunctionDef) and not node.name.lstrip("_").startswith(LEFT_OUT):
                functions.setdefault(node.name, []).append(node)
    names = {name for name, same in functions.items() if name in roots or any(map(is_root, same))}
    while True:
        more = names | {name for caller in names for f in functions[caller] for name in called(f) & functions.keys()}
        if more == names:
            return [f for name in functions if name in names for f in functions[name]]
        names = more


def called(function: ast.FunctionDef) -> set[str]:
    """All names and attributes that its body mentions."""
    nodes = [node for statement in function.body for node in ast.walk(statement)]
    return {n.id for n in nodes if isinstance(n, ast.Name)} | {n.attr for n in nodes if isinstance(n, ast.Attribute)}


def nodes_of(root: ast.AST, raising: bool = False):
    """The nodes below: not those of docstrings, annotations, defaults, and, unless `raising`, of what only raises."""
    for name, value in ast.iter_fields(root):
        for node in value if isinstance(value, list) else [value]:
            if not isinstance(node, ast.AST) or (name in ("args", "returns") and isinstance(root, ast.FunctionDef)):
                continue
            is_check = isinstance(node, ast.Expr) and re.match(r"(self\.)?_?check_", ast.unparse(node))
            raises = isinstance(node, ast.If) and all(isinstance(s, ast.Raise) for s in node.body)
            checks = not raising and (is_check or raises)
            if not (checks or isinstance(node, (ast.Raise, ast.Assert, ast.JoinedStr))):
                yield node
                yield from nodes_of(node, raising)


def changes(node: ast.AST):
    """(kind, the node to replace, the node that replaces it) of every error that can be planted right here."""
    match node:
        case ast.BinOp(left, ast.Add() | ast.Sub() as op, right):
            yield from (("term", node, left), ("sign", node, ast.BinOp(left, opposite(op), right)))
            yield "term", node, right if isinstance(op, ast.Add) else ast.UnaryOp(ast.USub(), right)
        case ast.BinOp(left, ast.Mult() | ast.BitAnd(), right):
            yield from (("mask", node, left), ("mask", node, right))
            if isinstance(node.op, ast.Mult):
                yield "factor", node, twice(node)
        case ast.BinOp(left, ast.Div() | ast.MatMult(), _):
            yield "factor", node, twice(node)
            if isinstance(node.op, ast.Div):
                yield "factor", node, left
        case ast.BinOp(op=ast.FloorDiv()):
            yield "index", node, plus(node, 1)
        case ast.UnaryOp(ast.USub() | ast.Invert() | ast.Not() as op, operand):
            yield "sign" if isinstance(op, ast.USub) else "mask", node, operand
        case ast.AugAssign(target, ast.Add() | ast.Sub() as op, value):
            yield from (("term", node, ast.Pass()), ("assign", node, ast.Assign([target], value, lineno=0)))
            yield "sign", node, ast.AugAssign(target, opposite(op), value)
            yield "factor", value, twice(value)
        case ast.AugAssign(op=ast.Mult() | ast.Div()):
            yield "mask", node, ast.Pass()
        case ast.Assign([ast.Subscript()], ast.Constant(0)):
            yield "mask", node, ast.Pass()
        case ast.Assign([ast.Subscript()], value):
            yield "factor", value, twice(value)
        case ast.Return(ast.Tuple([*_, value])) if not isinstance(value, ast.Constant):  # a loss: value, gradient
            yield from (("factor", value, twice(value)), ("sign", value, ast.UnaryOp(ast.USub(), value)))
        case ast.Return(ast.Name() | ast.Call() | ast.Subscript() as value):
            yield from (("factor", value, twice(value)), ("sign", value, ast.UnaryOp(ast.USub(), value)))
        case ast.BoolOp(values=[first, *rest]):
            yield from (("mask", node, value) for value in (first, rest[-1]))
        case ast.Compare(_, [ast.Lt() | ast.LtE() | ast.Gt() | ast.GtE() as op], _):
            other = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt}[type(op)]()
            yield "index", node, ast.Compare(node.left, [other], node.comparators)
        case ast.Attribute(value, "T"):
            yield "axis", node, value
        case ast.Subscript(_, index):
            for part in index.elts if isinstance(index, ast.Tuple) else [index]:
                if isinstance(part, ast.Slice):
                    yield from (("index", bound, plus(bound, 1)) for bound in (part.lower,) if bound)
                    yield from (("index", bound, plus(bound, -1)) for bound in (part.upper,) if bound)
                elif isinstance(part, ast.Constant) and type(part.value) is int:
                    yield "index", part, ast.Constant(part.value + 1)
        case ast.Call(func, args, keywords):
            yield from changes_of_call(node, ast.unparse(func).split(".")[-1], args, keywords)


def changes_of_checks(node: ast.AST):
    """The same for checks: those that never fail, and comparisons the other way round."""
    match node:
        case ast.If(test, [*_, ast.Raise()]):
            yield "raise", test, ast.Constant(False)
        case ast.Compare(left, [op], comparators) if type(op) in OPPOSITE:
            yield "compare", node, ast.Compare(left, [OPPOSITE[type(op)]()], comparators)


def changes_of_call(node: ast.Call, name: str, args: list, keywords: list):
    if name in ("transpose", "swapaxes") and len(args) > 1:
        yield "axis", node, node.func.value
        if name == "transpose":
            yield "axis", node, ast.Call(node.func, [*args[:-2], args[-1], args[-2]], keywords)
    elif name == "where" and len(args) == 3:
        yield from (("mask", node, value) for value in args[1:])
    elif name == "multiply" and len(args) == 2:
        yield from (("mask", arg, ast.Constant(1)) for arg in args)
    elif name in ("add", "subtract"):
        other = "add" if name == "subtract" else "subtract"
        yield "sign", node, ast.Call(ast.Attribute(node.func.value, other), args, keywords)
    elif name == "at" and len(args) == 3:  # np.add.at
        yield "assign", node, ast.Call(ast.Attribute(args[0], "__setitem__"), args[1:], [])
    elif name in ("range", "arange", "slice"):
        yield from (("index", arg, plus(arg, sign)) for arg in args for sign in (1, -1))
    elif name in ("maximum", "minimum", "clip", "max", "min") and len(args) > 1:
        yield "mask", node, args[0]
    for keyword in keywords:
        others = [k for k in keywords if k is not keyword]
        if keyword.arg == "where":
            yield "mask", node, ast.Call(node.func, args, others)
        elif keyword.arg == "axis" and isinstance(keyword.value, ast.Constant):
            yield "axis", keyword.value, ast.Constant(1 if keyword.value.value == 0 else keyword.value.value - 1)
        elif keyword.arg == "axis" and isinstance(keyword.value, ast.Tuple):
            yield "axis", keyword.value, ast.Tuple(keyword.value.elts[:-1])


def opposite(op: ast.operator) -> ast.operator:
    return ast.Sub() if isinstance(op, ast.Add) else ast.Add()


def twice(node: ast.expr) -> ast.expr:
    return ast.BinOp(ast.Constant(2), ast.Mult(), node)


def plus(node: ast.expr, number: int) -> ast.expr:
    return ast.BinOp(node, ast.Add() if number > 0 else ast.Sub(), ast.Constant(abs(number)))
