"""Makes the tables of VELES's keys, with which docs/veles.md ends: python docs/veles.py"""

from collections.abc import Iterable, Mapping
from typing import Any

from runner.config.layers import spellings
from runner.config.layers.weighted_layers import GradientConfig
from runner.config.veles import keys

VALUES: dict[str, str] = {
    "decision_name": "`decision_gd`: softmax, `decision_mse`: mse",
    "evaluator_name": "`evaluator_softmax`: softmax, `evaluator_mse`: mse",
    "loader.train_paths": "one folder",
    "loader.validation_paths": "one folder",
    "loader.color_space": "`GRAY` is true, `RGB` false",
    "loader.scale": "[width, height] becomes [height, width]",
    "loader.shuffle_limit": "null from 2,000,000,000 on; 0 for less than 0",
    "data_paths.train": "the folder of the binary batches: VELES's Python batches are not read",
    "common.engine.backend": "`numpy` is `cpu`",
    "common.disable_plotting": "the opposite",
    "common.plotters_disabled": "the opposite",
}


def main() -> None:
    print("## Keys with another name or other values\n")
    table(("VELES", "here", ""), ((key, f"`{now}`", note(key)) for key, (now, _) in keys.MOVED.items()))
    moved = keys.LAYER_MOVED | spellings.KEYS[GradientConfig]
    table(None, ((key, f"`{now}`", "of a layer") for key, now in moved.items()))
    print("\n## Types of layers with another name\n")
    types = spellings.SOFTPLUS | spellings.TYPES
    table(("VELES", "here"), ((kind, f"`{now}`") for kind, now in types.items()))
    print("\n## Keys without effect\n\nEach is named when it is read. A section stands for all its keys.\n")
    table(("key", "why"), keys.DROPPED.items())
    print("\nIn any unit's section, and in layers:\n")
    table(("key", "why"), keys.UNIT_KEYS.items())
    print("\nIn layers, on either side:\n")
    table(("key", "why"), keys.LAYER_DROPPED.items())
    print("\n## Keys that are refused\n\nThey would change the results. The values that change nothing are accepted.\n")
    table(("key", "accepted", "instead"), refused(keys.REFUSED))
    print("\nIn layers:\n")
    table(("key", "accepted", "instead"), refused(keys.LAYER_REFUSED))


def note(key: str) -> str:
    names = {"loader_name": keys.LOADERS, "loader.normalization_type": keys.NORMALIZATIONS} | {
        key: keys.PRECISIONS for key in keys.MOVED if key.endswith("precision_type")
    }
    return VALUES.get(key) or ", ".join(f"`{value}`: {now}" for value, now in names.get(key, {}).items())


def refused(table: Mapping[str, tuple[tuple[Any, ...], str]]) -> Iterable[tuple[str, str, str]]:
    for key, (neutral, instead) in table.items():
        yield key, ", ".join(f"`{str(value).lower()}`" for value in neutral), instead


def table(head: tuple[str, ...] | None, rows: Iterable[tuple[str, ...]]) -> None:
    if head:
        print(f"| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for key, *cells in rows:
        print(f"| `{key}` | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
