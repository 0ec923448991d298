"""The house: rooms import only from rooms below, private names stay in their files, and faces list what is public."""

import ast
import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "jaxunreg"

# From the ground floor up. A file imports only from its own room and from those before it.
ROOMS = (
    "ground",
    "nn",
    "features",
    "models",
    "parallel",
    "scoring",
    "training",
    "sweep",
    "metrics",
    "datasets",
    "baselines",
    "inspection",
    "adapters",
    "plots",
    "reports",
    "export",
    "serving",
    "cli",
)
FILES = sorted(path for path in PACKAGE.rglob("*.py"))
FACES = [path for path in FILES if path.name == "__init__.py"]


def module(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room(name: str) -> str:
    """The room of a module, by its name."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 and (PACKAGE / parts[1]).is_dir() else "ground"


def imports(path: Path) -> Iterator[tuple[str, str]]:
    """Modules of the package that a file imports from, and the names that it takes."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "jaxunreg":
            for alias in node.names:
                inner = PACKAGE.parent / Path(*node.module.split("."), alias.name)
                is_module = inner.with_suffix(".py").exists() or inner.is_dir()
                yield (f"{node.module}.{alias.name}" if is_module else node.module), alias.name
        elif isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names if alias.name.split(".")[0] == "jaxunreg")


def test_every_room_has_its_floor():
    found = {room(module(path)) for path in FILES}
    assert found <= set(ROOMS), found - set(ROOMS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_file_imports_only_from_below_and_takes_no_private_name(path):
    here = room(module(path))
    if module(path) in ("jaxunreg", "jaxunreg.__main__"):
        return  # The face of the package, and its command, are above all rooms.
    for source, name in imports(path):
        assert source != "jaxunreg", f"{path} imports the face of the package"
        assert ROOMS.index(room(source)) <= ROOMS.index(here), f"{path} imports {name} from {source}, which is above it"
        assert not name.startswith("_"), f"{path} imports the private name {name} from {source}"


def listed_in(stub: Path) -> list[str]:
    """The names in the `__all__` of a stub, which type checkers and the site read."""
    for node in ast.parse(stub.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return ast.literal_eval(node.value)
    raise AssertionError(f"{stub} lists no names")


@pytest.mark.parametrize("path", FACES, ids=module)
def test_a_face_hands_names_on_and_does_nothing_else(path):
    face = importlib.import_module(module(path))
    assert face.__doc__
    listed = getattr(face, "__all__", [])
    assert len(set(listed)) == len(listed)
    if path.with_suffix(".pyi").exists():
        assert sorted(listed) == sorted(listed_in(path.with_suffix(".pyi")))
    for name in listed:
        assert getattr(face, name).__doc__, f"{module(path)}.{name} has no docstring"
    defined = [
        node.name
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name != "__getattr__"
    ]
    assert defined == []


def test_the_package_and_its_command_start_without_what_they_may_not_need():
    program = (
        "import sys, jaxunreg, jaxunreg.cli.main\n"
        "print(*{'sklearn', 'matplotlib', 'tensorflow_datasets', 'torch', 'chex'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.split() == []


def test_the_table_of_rooms_is_in_their_order():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    table = text[text.index("| room |") : text.index("Beside the package stand")]
    listed = re.findall(r"`(\w+)/`", "\n".join(line.split("|")[1] for line in table.splitlines() if "|" in line))
    assert listed == [name for name in ROOMS if name != "ground"]
