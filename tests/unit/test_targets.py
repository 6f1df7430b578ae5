import re

import pytest

from runner.errors import ConfigError
from runner.graph import Unit
from runner.targets import locate
from tests.own import Doubler


def test_a_class_is_found_by_its_full_name() -> None:
    assert locate("x._target_", "tests.own.Doubler", Unit) is Doubler


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("Doubler", "x='Doubler' must name a class with its module, such as my_module.Doubler"),
        ("nothing.Doubler", "x='nothing.Doubler': the module 'nothing' cannot be imported: ModuleNotFoundError: No module"),
        ("tests.own.Nothing", "x='tests.own.Nothing': the module 'tests.own' has no 'Nothing'"),
        ("os.system", "x='os.system' is not a subclass of runner.graph.unit.Unit"),
        ("builtins.dict", "x='builtins.dict' is not a subclass of runner.graph.unit.Unit"),
    ],
)
def test_anything_else_is_refused_in_one_line(target: str, message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}") as caught:
        locate("x", target, Unit)
    assert "\n" not in str(caught.value)
