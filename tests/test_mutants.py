"""tests/mutants.py and tests/planted_errors.py: which functions, what is planted, how it comes to run."""

import ast
import types
from pathlib import Path

from tests.mutants import EQUIVALENT, Package, codes_of, functions_of, plant
from tests.planted_errors import Mutant, changes, mutants, mutants_of_checks, reached

SOURCE = '''
def helper(a):
    return a

def unrelated(a):
    return a + 1

class Layer:
    def forward(self, x):
        return x + 1

    def backward(self, dy, cache):
        """A docstring - of - terms."""
        check_shape(self, dy=(dy, 1 + 1))
        if len(dy) - 1 > 3:
            raise ValueError(dy - 1)
        self.bias.grad += dy.sum(axis=(0, 2))
        return helper(dy) * (cache > 0)
'''


def planted(expression):
    """{(kind, replacement)} for the errors that an expression or statement may get, not those of its parts."""
    node = ast.parse(expression).body[0]
    return {(kind, ast.unparse(new)) for kind, _, new in changes(node.value if isinstance(node, ast.Expr) else node)}


def test_lines_whose_mutants_make_no_difference_stand_in_their_files():
    root = Path(__file__).parents[1]
    for file, _, line in EQUIVALENT:
        assert line in map(str.strip, (root / file).read_text(encoding="utf-8").splitlines()), (file, line)


def test_only_backwards_and_what_they_call_are_taken():
    assert [f.name for f in reached(ast.parse(SOURCE))] == ["helper", "backward"]
    assert [f.name for f in reached(ast.parse(SOURCE), {"unrelated"})] == ["helper", "unrelated", "backward"]


def test_a_loss_is_taken_for_the_type_it_returns():
    source = "def l2(a) -> tuple[float, np.ndarray]:\n    return a\ndef size(a) -> float:\n    return a"
    assert [f.name for f in reached(ast.parse(source))] == ["l2"]


def test_each_mutant_differs_in_one_place_and_parses():
    found = mutants("nn/some.py", SOURCE)
    assert len({m.source for m in found}) == len(found)
    for m in found:
        ast.parse(m.source)
        before, after = SOURCE.splitlines(), m.source.splitlines()
        assert [i + 1 for i, (a, b) in enumerate(zip(before, after)) if a != b] == [m.line]
        assert m.text == before[m.line - 1].strip() and m.before in m.text


def test_docstrings_checks_and_what_raises_are_left_alone():
    assert {m.text for m in mutants("nn/some.py", SOURCE)} == {
        "return a",
        "self.bias.grad += dy.sum(axis=(0, 2))",
        "return helper(dy) * (cache > 0)",
    }


def test_kinds_can_be_chosen():
    found = mutants("nn/some.py", SOURCE, kinds=("assign",))
    assert [(m.kind, m.after) for m in found] == [("assign", "self.bias.grad = dy.sum(axis=(0, 2))")]


def test_terms_signs_and_factors():
    assert planted("a - b") == {("term", "a"), ("term", "-b"), ("sign", "a + b")}
    assert planted("-a") == {("sign", "a")}
    assert planted("a * b") == {("mask", "a"), ("mask", "b"), ("factor", "2 * (a * b)")}
    assert planted("a / b") == {("factor", "2 * (a / b)"), ("factor", "a")}


def test_accumulation():
    words = {("assign", "a = b"), ("sign", "a -= b"), ("term", "pass"), ("factor", "2 * b")}
    assert planted("a += b") == words
    assert planted("np.add.at(a, i, b)") == {("assign", "a.__setitem__(i, b)")}


def test_axes():
    assert planted("a.T") == {("axis", "a")}
    assert planted("a.transpose(0, 2, 1)") == {("axis", "a"), ("axis", "a.transpose(0, 1, 2)")}
    assert planted("a.sum(axis=0)") == {("axis", "1")}
    assert planted("a.sum(axis=(0, 2))") == {("axis", "(0,)")}


def test_indices():
    assert planted("range(n)") == {("index", "n + 1"), ("index", "n - 1")}
    assert planted("a[1, i:j]") == {("index", "2"), ("index", "i + 1"), ("index", "j - 1")}
    assert planted("a < b") == {("index", "a <= b")}


def test_masks():
    assert planted("np.where(mask, a, 0)") == {("mask", "a"), ("mask", "0")}
    assert planted("a[mask] = 0") == {("mask", "pass")}
    assert planted("a and b") == {("mask", "a"), ("mask", "b")}


def test_a_planted_error_is_in_the_functions_that_others_have_by_now():
    source = "def f(a):\n    return a\nclass C:\n    def g(self):\n        return f(1)\n"
    module = types.ModuleType("nn.of_this_test")
    exec(compile(source, "of_this_test", "exec"), vars(module))
    g = module.C().g
    assert [name for name, _ in codes_of(compile(source, "x", "exec"))] == ["f", "C", "C.g"]
    assert {f.__name__ for f in functions_of("nn.of_this_test")} == {"f", "g"}
    mutant = Mutant(
        "nn/of_this_test.py", 2, "factor", "return a", "a", "2 * a", source.replace("return a", "return 2 * a")
    )
    plant(mutant)
    assert g() == 2


def test_modules_of_nn_their_backwards_elsewhere_and_their_tests():
    package = Package()
    assert "tap" in package.roots["layers/windows"]  # the backward of conv calls it
    assert package.selection("layers/linear") == ["[Linear-", "nn/layers/test_linear.py"]
    assert "[Conv2d-" in package.selection("cpu/winograd")


READER = """
def read(path, limit):
    if path is None or len(path) > limit:
        raise ValueError(f"{path}: too long")
    return path[1:] if "a" in path else path
"""


def test_errors_in_checks():
    found = {(m.kind, m.before, m.after) for m in mutants_of_checks("datasets/some.py", READER)}
    assert found == {
        ("raise", "path is None or len(path) > limit", "False"),
        ("mask", "path is None or len(path) > limit", "(path is None)"),
        ("mask", "path is None or len(path) > limit", "(len(path) > limit)"),
        ("compare", "path is None", "(path is not None)"),
        ("index", "len(path) > limit", "(len(path) >= limit)"),
        ("index", "1", "(1 + 1)"),
        ("compare", '"a" in path', "('a' not in path)"),
    }
