"""The one import of learn2learn, tried on stand-ins for the package and, where installed, on itself."""

import importlib.util
import sys
from pathlib import Path

import pytest

from hyperpeft.l2l import INSTALL, UNUSED, learn2learn

WORKING = """
from . import algorithms, gym, text, vision
unused = [gym, text, vision]
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An importable folder named learn2learn; the import of this test is forgotten afterwards."""
    known = {name: module for name, module in sys.modules.items() if name.split(".")[0] == "learn2learn"}
    for name in known:
        monkeypatch.delitem(sys.modules, name)
    folder = tmp_path / "learn2learn"
    folder.mkdir()
    (folder / "algorithms.py").write_text("MAML = 'maml'")
    monkeypatch.syspath_prepend(tmp_path)
    yield folder
    for name in [name for name in sys.modules if name.split(".")[0] == "learn2learn"]:
        del sys.modules[name]
    sys.modules.update(known)


def test_parts_with_foreign_dependencies_are_replaced_only_while_importing(package: Path) -> None:
    (package / "__init__.py").write_text(WORKING)
    for part in UNUSED:
        (package / f"{part}.py").write_text("raise ImportError('needs a simulator')")
    module = learn2learn()
    assert module.algorithms.MAML == "maml"
    assert [part.__name__ for part in module.unused] == [f"learn2learn.{part}" for part in ("gym", "text", "vision")]
    assert not [name for name in sys.modules if name.removeprefix("learn2learn.") in UNUSED]
    assert learn2learn() is module is sys.modules["learn2learn"]


def test_a_failed_import_says_how_to_install_and_leaves_nothing(package: Path) -> None:
    (package / "__init__.py").write_text("from . import algorithms, gym\nimport no_such_dependency")
    with pytest.raises(ImportError, match=r"needs learn2learn.*'no_such_dependency'") as caught:
        learn2learn()
    assert str(caught.value).endswith(INSTALL)
    assert isinstance(caught.value.__cause__, ImportError)
    assert not [name for name in sys.modules if name.removeprefix("learn2learn.") in ("learn2learn", *UNUSED)]


def test_an_absent_package_says_how_to_install(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (package / "algorithms.py").unlink()
    package.rmdir()
    monkeypatch.setattr(sys, "path", [str(package.parent)])
    with pytest.raises(ImportError, match=r"cannot be imported \(No module named 'learn2learn'\)"):
        learn2learn()


@pytest.mark.skipif(importlib.util.find_spec("learn2learn") is None, reason="learn2learn is not installed")
@pytest.mark.filterwarnings("ignore")
def test_the_real_package_gives_what_we_use() -> None:
    module = learn2learn()
    assert module.algorithms.MAML
    assert module.optim
    assert module.utils.clone_module
