"""Tests that cannot fail prove nothing: this one reads all tests, and the program, as syntax trees."""

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from source_trees import MODULES, ROOT, TESTS, nodes_of, tree_of

CHECKS = re.compile(r"^(raises|warns|fail|assert_\w+|assert\w*|check_\w+)$")
"""Names of functions that check, whatever they are an attribute of: pytest's, numpy.testing's, and our own."""

DANGEROUS = {"eval", "exec", "compile", "__import__", "torch.load", "os.system", "os.popen", "yaml.load"}
UNPICKLERS = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}


def named(node: ast.expr) -> str:
    """Return a dotted name as written, empty for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    return f"{named(node.value)}.{node.attr}" if isinstance(node, ast.Attribute) else ""


def each_test_of(tree: ast.AST) -> Iterator[ast.FunctionDef]:
    for node in nodes_of(tree):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            yield node


def is_check(node: ast.AST) -> bool:
    if isinstance(node, ast.Assert):
        return True
    return isinstance(node, ast.Call) and bool(CHECKS.match(named(node.func).rpartition(".")[2]))


# Each finder yields (line, what is wrong).
Found = Iterator[tuple[int, str]]


def empty_tests(tree: ast.AST) -> Found:
    for test in each_test_of(tree):
        if not any(is_check(node) for node in ast.walk(test)):
            yield test.lineno, f"{test.name} checks nothing"


def assertions_that_are_always_true(tree: ast.AST) -> Found:
    for node in nodes_of(tree):
        if isinstance(node, ast.Assert):
            if isinstance(node.test, ast.Tuple | ast.List | ast.Set | ast.Dict | ast.JoinedStr):
                yield node.lineno, "assertion over a container or a text"
            elif isinstance(node.test, ast.Constant | ast.Lambda | ast.GeneratorExp | ast.ListComp):
                yield node.lineno, "assertion of something that is always true or always false"
            elif isinstance(node.test, ast.Compare) and is_compared_with_itself(node.test):
                yield node.lineno, "comparison of something with itself"


def is_compared_with_itself(node: ast.Compare) -> bool:
    return len(node.comparators) == 1 and ast.dump(node.left) == ast.dump(node.comparators[0])


def answers_thrown_away(tree: ast.AST) -> Found:
    for node in nodes_of(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Compare):
            yield node.lineno, "comparison whose answer nobody reads"
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            name = named(node.value.func).rpartition(".")[2]
            if name in ("allclose", "isclose", "array_equal", "equal", "is_file", "exists", "approx"):
                yield node.lineno, f"{name} whose answer nobody reads"


def repeated_tests(tree: ast.AST) -> Found:
    seen = set()
    for test in each_test_of(tree):
        if test.name in seen:
            yield test.lineno, f"{test.name} for the second time: the first never runs"
        seen.add(test.name)


def skips_and_expected_failures_without_reason(tree: ast.AST) -> Found:
    marks = {f"pytest.mark.{kind}" for kind in ("skip", "skipif", "xfail")}
    calls = [node for node in nodes_of(tree) if isinstance(node, ast.Call)]
    reasoned = {id(call.func) for call in calls if any(word.arg == "reason" for word in call.keywords)}
    for node in nodes_of(tree):
        if isinstance(node, ast.Attribute) and named(node) in marks and id(node) not in reasoned:
            yield node.lineno, f"{named(node)} without a reason"


def expectations_of_any_failure(tree: ast.AST) -> Found:
    for node in nodes_of(tree):
        is_expectation = isinstance(node, ast.Call) and named(node.func) == "pytest.raises" and bool(node.args)
        if is_expectation and named(node.args[0]) in ("Exception", "BaseException"):
            yield node.lineno, "expects any failure at all"


def failures_that_are_swallowed(tree: ast.AST) -> Found:
    for node in nodes_of(tree):
        if isinstance(node, ast.ExceptHandler):
            broad = node.type is None or named(node.type) in ("Exception", "BaseException")
            if broad and not any(isinstance(inner, ast.Raise) for inner in ast.walk(node)):
                yield node.lineno, "a broad except that does not raise"


def code_that_runs_what_it_reads(tree: ast.AST) -> Found:
    for node in nodes_of(tree):
        if isinstance(node, ast.Call) and named(node.func) in DANGEROUS:
            yield node.lineno, f"call of {named(node.func)}"
        if isinstance(node, ast.Call) and any(is_true(node, word) for word in ("allow_pickle", "shell")):
            yield node.lineno, "allow_pickle or shell"
        modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        for module in modules:
            if module.partition(".")[0] in UNPICKLERS:
                yield node.lineno, f"import of {module}"


def is_true(call: ast.Call, keyword: str) -> bool:
    given = [word.value for word in call.keywords if word.arg == keyword]
    return bool(given) and not (isinstance(given[0], ast.Constant) and given[0].value is False)


def work_that_is_left_over(tree: ast.AST) -> Found:
    for node in nodes_of(tree):
        if isinstance(node, ast.Raise) and node.exc is not None and "NotImplementedError" in ast.unparse(node.exc):
            yield node.lineno, "NotImplementedError"
        if isinstance(node, ast.FunctionDef) and [type(inner) for inner in node.body] == [ast.Pass]:
            yield node.lineno, f"{node.name} does nothing"


def patches_of_private_parts(tree: ast.AST) -> Found:
    """A private name may change at any time, and a part that is set to None fails in words of its own."""
    for node in nodes_of(tree):
        if isinstance(node, ast.Call) and named(node.func).rpartition(".")[2] in PATCHES:
            values = [*node.args, *(word.value for word in node.keywords)]
            texts = [value.value for value in values[:2] if is_text(value)]
            if any(is_private(text.rpartition(".")[2]) for text in texts):
                yield node.lineno, "patch of a private name"
            elif len(values) > 1 and any(isinstance(v, ast.Constant) and v.value is None for v in values[1:]):
                yield node.lineno, "patch with None"
        if isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                if isinstance(target, ast.Attribute) and is_private(target.attr) and named(target.value) != "self":
                    yield node.lineno, "patch of a private name"


PATCHES = {"setattr", "delattr", "patch", "object", "setitem"}
"""Functions that replace a part of the program: of pytest's monkeypatch, of unittest.mock, and Python's own."""


def is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__")


IN_TESTS: list[Callable[[ast.AST], Found]] = [
    empty_tests,
    assertions_that_are_always_true,
    answers_thrown_away,
    repeated_tests,
    skips_and_expected_failures_without_reason,
    expectations_of_any_failure,
    failures_that_are_swallowed,
    code_that_runs_what_it_reads,
    patches_of_private_parts,
]
IN_MODULES: list[Callable[[ast.AST], Found]] = [
    assertions_that_are_always_true,
    answers_thrown_away,
    failures_that_are_swallowed,
    code_that_runs_what_it_reads,
    work_that_is_left_over,
]
ALLOWED = {("cli/app.py", "_root does nothing")}  # Typer's root options need a function to stand at


def rows(paths: list[Path], find: Callable[[ast.AST], Found]) -> list[str]:
    found = []
    for path in paths:
        for line, what in find(tree_of(path)):
            if not any(path.as_posix().endswith(place) and what == allowed for place, allowed in ALLOWED):
                found.append(f"{path.relative_to(ROOT)}:{line}: {what}")
    return found


@pytest.mark.parametrize("find", IN_TESTS, ids=lambda find: find.__name__)
def test_no_test_is_one_of_the(find: Callable[[ast.AST], Found]) -> None:
    assert len(TESTS) > 40
    assert rows(TESTS, find) == []


@pytest.mark.parametrize("find", IN_MODULES, ids=lambda find: find.__name__)
def test_the_program_has_no(find: Callable[[ast.AST], Found]) -> None:
    assert len(MODULES) > 60
    assert rows(MODULES, find) == []


def test_nothing_is_left_to_do_in_comments() -> None:
    marks = re.compile(r"#\s*(TO" + r"DO|FIX" + r"ME|XX" + r"X|HA" + r"CK)\b")
    left = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in MODULES + TESTS
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if marks.search(line)
    ]
    assert left == []


DISHONEST = {
    empty_tests: ["def test_a(): f()", "def test_a():\n    x = 1 == 2"],
    assertions_that_are_always_true: ["assert [a, b]", "assert (a, 'b')", "assert True", "assert f(x) == f(x)"],
    answers_thrown_away: ["np.allclose(a, b)", "a == b", "torch.equal(a, b)", "path.exists()"],
    repeated_tests: ["def test_a(): assert f()\ndef test_a(): assert g()"],
    skips_and_expected_failures_without_reason: ["@pytest.mark.skip\ndef f(): g()", "pytest.mark.xfail(strict=True)"],
    expectations_of_any_failure: ["with pytest.raises(Exception):\n    f()"],
    failures_that_are_swallowed: ["try: f()\nexcept Exception: pass", "try: f()\nexcept:\n    x = 1"],
    code_that_runs_what_it_reads: [
        *("eval('1')", "torch.load(f)", "import pickle", "from joblib import load", "np.load(f, allow_pickle=True)"),
        "subprocess.run(x, shell=True)",
    ],
    patches_of_private_parts: [
        *('monkeypatch.setattr("a.b._c", f)', 'patch.setattr(module, "_c", f)', 'monkeypatch.delattr(a, "_c")'),
        *('monkeypatch.setattr("a.b.c", None)', 'monkeypatch.setattr(a, name="c", value=None)', "module._c = f"),
        *('mock.patch("a._c")', 'mock.patch.object(a, "_c")', 'patch.setitem(sys.modules, "torch", None)'),
    ],
    work_that_is_left_over: ["def f():\n    raise NotImplementedError", "def f():\n    pass"],
}
HONEST = """
def test_a():
    with pytest.raises(ValueError, match="x"):
        f()
def test_b():
    np.testing.assert_allclose(a, b)
    assert np.allclose(a, b) and path.exists()
    assert f(1) == f(2)
@pytest.mark.xfail(reason="known")
def test_c():
    assert_equal_to_the_bit(a, b)
try:
    f()
except Exception as error:
    raise KeyError from error
np.load(f, allow_pickle=False)
class A:
    def __init__(self):
        self._own = None
monkeypatch.setattr("a.b.c", lambda _: None)
monkeypatch.setattr(module, "__version__", "1")
"""


def _short(value: object) -> str:
    return getattr(value, "__name__", str(value))[:40]


@pytest.mark.parametrize(
    ("find", "code"), [(find, code) for find, codes in DISHONEST.items() for code in codes], ids=_short
)
def test_each_finder_finds_what_it_is_for(find: Callable[[ast.AST], Found], code: str) -> None:
    assert len(list(find(ast.parse(code)))) == 1


@pytest.mark.parametrize("find", DISHONEST, ids=lambda find: find.__name__)
def test_no_finder_finds_fault_with_honest_code(find: Callable[[ast.AST], Found]) -> None:
    assert list(find(ast.parse(HONEST))) == []
