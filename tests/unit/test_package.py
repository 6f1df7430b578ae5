"""What holds for all modules of the package."""

import importlib
import inspect
import pkgutil
from pathlib import Path
from types import ModuleType

import pytest

import runner

MODULES = sorted(name for _, name, _ in pkgutil.walk_packages(runner.__path__, "runner.") if not name.endswith(".__main__"))


def defined_in(module: ModuleType) -> dict[str, object]:
    return {
        name: value
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__ and hasattr(value, "__qualname__")
    }


@pytest.mark.parametrize("name", MODULES)
def test_every_public_module_class_and_function_has_a_docstring(name: str) -> None:
    module = importlib.import_module(name)
    undocumented = [] if module.__doc__ or not Path(module.__file__).read_text() else [name]
    for public, value in defined_in(module).items():
        if not inspect.getdoc(value):
            undocumented.append(f"{name}.{public}")
        if inspect.isclass(value):
            undocumented += [
                f"{name}.{public}.{method}"
                for method, function in vars(value).items()
                if not method.startswith("_") and inspect.isfunction(function) and not inspect.getdoc(function)
                if not any(hasattr(base, method) for base in value.__bases__)  # an override is documented where it is declared
            ]
    assert undocumented == []


@pytest.mark.parametrize("name", MODULES)
def test_all_lists_public_names_that_exist_in_order(name: str) -> None:
    module = importlib.import_module(name)
    listed = getattr(module, "__all__", [])
    assert list(listed) == sorted(set(listed), key=lambda public: (not public.isupper(), public))  # constants first
    for public in listed:
        assert not public.startswith("_")
        assert hasattr(module, public)


@pytest.mark.parametrize("name", [name for name in MODULES if hasattr(importlib.import_module(name), "__all__")])
def test_a_package_that_lists_names_lists_all_that_it_imports(name: str) -> None:
    module = importlib.import_module(name)
    public = {
        key
        for key, value in vars(module).items()
        if not key.startswith("_") and not inspect.ismodule(value) and key != "annotations"
    }
    assert public == set(module.__all__)
