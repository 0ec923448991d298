"""Errors carry data, and each edge words them for its reader."""

import ast
import builtins
import inspect
import pickle
from pathlib import Path

import pytest

from jaxunreg import errors
from jaxunreg.errors import ArgumentError, CheckpointError, JaxunregError, NonFiniteLossError, argument

CLASSES = [found for _, found in inspect.getmembers(errors, inspect.isclass) if issubclass(found, JaxunregError)]


def options(name: str, value: str | None) -> str:
    return f"<{name}>" if value is None else f"<{name}> {value}"


def test_each_edge_words_the_same_error():
    error = ArgumentError(
        f"{argument('warmup_steps', 5)} with {argument('steps', 3)}", "fewer", f"lower {argument('warmup_steps')}"
    )
    assert str(error) == "got warmup_steps=5 with steps=3; expected fewer; lower warmup_steps"
    assert error.worded(options) == "got <warmup_steps> 5 with <steps> 3; expected fewer; lower <warmup_steps>"
    assert error.field == "warmup_steps"


def test_strings_are_quoted_in_python():
    assert str(ArgumentError(argument("start", "odd"), "one of two")) == "got start='odd'; expected one of two"


def test_the_field_may_be_named_where_no_argument_is():
    assert ArgumentError("5 cells", "4", field="rows").field == "rows"
    assert ArgumentError("5 cells", "4").field is None


def test_an_error_with_a_text_alone_is_shown_as_it_is():
    assert str(CheckpointError("cut short")) == "cut short"


@pytest.mark.parametrize("kind", CLASSES)
def test_other_libraries_show_the_words_and_no_marks(kind):
    """tyro, logging and `repr` show an exception's first argument."""
    error = kind(argument("stride", 0), "at least 1", f"raise {argument('stride')}")
    assert error.args == ("got stride=0; expected at least 1; raise stride",)


@pytest.mark.parametrize("kind", CLASSES)
def test_an_error_keeps_its_data_on_its_way_from_another_process(kind):
    error = kind(argument("stride", 0), "at least 1", "raise it", "other")
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is kind
    assert (copy.got, copy.expected, copy.advice, copy.field) == (error.got, error.expected, error.advice, "other")


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [
        (ArgumentError, ValueError),
        (errors.ArgumentTypeError, TypeError),
        (errors.MissingPackageError, ImportError),
        (NonFiniteLossError, FloatingPointError),
    ],
)
def test_a_python_program_may_catch_the_builtin_kind(kind, builtin):
    with pytest.raises(builtin, match="got x=1"):
        raise kind(argument("x", 1), "2")


PACKAGE = Path(errors.__file__).parent

# Of Python itself: a broken invariant, the end of the program, and a module without a name.
FREE = {"AssertionError", "SystemExit", "AttributeError"}


def test_the_package_raises_no_error_without_data():
    raised = {
        f"{file.relative_to(PACKAGE)}:{node.lineno}": ast.unparse(node.exc.func)
        for file in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call)
    }
    assert len(raised) > 100
    assert {place: name for place, name in raised.items() if hasattr(builtins, name) and name not in FREE} == {}
