"""The names that `import hyperpeft` gives."""

import subprocess
import sys

import pytest

import hyperpeft


def test_every_public_name_is_there() -> None:
    for name in hyperpeft.__all__:
        value = getattr(hyperpeft, name)
        assert value.__name__ == name
        assert value.__module__.startswith("hyperpeft.")
        assert value.__doc__
    assert set(hyperpeft.__all__) <= set(dir(hyperpeft))


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'hyperpeft' has no attribute 'generat'"):
        hyperpeft.generat  # noqa: B018
    with pytest.raises(ImportError, match="cannot import name 'generat'"):
        from hyperpeft import generat  # noqa: F401


def test_the_import_alone_does_not_import_torch() -> None:
    code = "import sys, hyperpeft; print('torch' in sys.modules, hyperpeft.Task.__name__, 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split() == ["False", "Task", "False"], done.stderr
