"""What a sweep leaves in its folder so that it can go on: how it was typed, its seed, and what its conf file said."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

from runner import passwords
from runner.cli.sweeping import inputs, typed
from runner.config.identity import NOT_OF_THE_RUN
from runner.errors import ConfigError
from runner.flat import flattened
from runner.metrics.plain import for_json
from runner.text import shown
from runner.whole_file import whole_file

RECORD = ".sweep"
"""The file. It holds JSON."""
SHOWN = 3
"""Keys that a message names."""
_NEW = "begin a new sweep, without sweep="


@dataclass(frozen=True, kw_only=True)
class Record:
    """A sweep.

    Attributes:
        typed: the values of each key that was typed, as `typed.swept_values` returns them.
        is_search: whether the values are chosen by what jobs have come to; None if an older version has not said so.
        seed: what was drawn for its jobs; they have it unless a seed is given.
        conf: what the configuration says of a job, flat, without what is typed.
        inputs: a digest of each file and folder that it names.
    """

    typed: Mapping[str, tuple[str, ...]]
    is_search: bool | None
    seed: int
    conf: Mapping[str, Any]
    inputs: Mapping[str, str]

    @classmethod
    def of(
        cls,
        arguments: Sequence[str],
        seed: int,
        config: Mapping[str, Any],
        options: Iterable[Path] = (),
        *,
        is_search: bool = False,
    ) -> Self:
        """Returns the sweep that is typed now, without passwords.

        Args:
            arguments: what is typed for its jobs.
            seed: what is drawn for them.
            config: what Hydra has composed of the conf file, and of what is typed with one value.
            options: the conf files that are swept.
            is_search: whether the values are chosen by what jobs have come to.
        """
        conf = {key: value for key, value in flattened(config).items() if key.partition(".")[0] not in NOT_OF_THE_RUN}
        known = {key: tuple(_masked(key, text) for text in texts) for key, texts in typed.swept_values(arguments).items()}
        masked = {key: _masked(key, value) for key, value in conf.items()}
        files = {**inputs.digests(conf), **inputs.of_files(options)}
        return cls(typed=known, is_search=is_search, seed=seed, conf=masked, inputs=files)

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """Returns the sweep in a folder; None if nothing says that there is one."""
        try:
            values = json.loads((folder / RECORD).read_bytes())
            known = {str(key): tuple(map(str, texts)) for key, texts in values["typed"].items()}
            return cls(
                typed=known,
                is_search=values.get("is_search"),
                seed=int(values["seed"]),
                conf=dict(values["conf"]),
                inputs=dict(values.get("inputs", {})),
            )
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return None

    def write(self, folder: Path) -> None:
        """Writes it into the sweep's folder, as a whole.

        Raises:
            OSError: it cannot be written.
        """
        with whole_file(folder / RECORD) as file:
            file.write_text(json.dumps(asdict(self), indent=1) + "\n")

    def is_range(self, key: str) -> bool:
        """Whether a key has the values between two ends, of which a search takes some."""
        return self.typed[key][0].startswith(("interval(", "tag("))

    def is_same(self, now: Mapping[str, tuple[str, ...]]) -> bool:
        """Whether what is typed now means this sweep: the same keys, each with a value in common, in whatever order.

        When a job ends and where it writes make no other sweep.
        """
        then, now = _counted(self.typed), _counted(now)
        return then.keys() == now.keys() and all(set(then[key]) & set(now[key]) for key in then)

    def extended_by(self, now: Self) -> Self:
        """Returns the sweep that goes on: as it is typed now, with the values that its keys had before, too.

        Raises:
            ConfigError: what is typed now is another sweep, whose jobs do not belong into its folder.
        """
        then, counted = _counted(self.typed), _counted(now.typed)
        if self.is_search not in (None, now.is_search):
            was, typed_now = ("a search", "a sweep of all combinations")[:: 1 if self.is_search else -1]
            raise ConfigError(f"the sweep is {was}, and what is typed now is {typed_now}: {_NEW}")
        if others := sorted(then.keys() ^ counted.keys()):
            key = others[0]
            was = (
                f"had {key}={_told(then[key])}, which is not typed now"
                if key in then
                else f"did not have {key}, which is typed now"
            )
            raise ConfigError(f"the sweep {was}: {_NEW}")
        for key, texts in then.items():
            if len(texts) == 1 == len(counted[key]) and texts != counted[key]:
                raise ConfigError(
                    f"the sweep had {key}={_told(texts)} in all jobs, and now it is {_told(counted[key])}: {_NEW}"
                )
        if now.is_search and (changed := [key for key in then if set(then[key]) != set(counted[key])]):
            key = changed[0]
            raise ConfigError(f"the search has {key}={_told(then[key])}, and now it is {_told(counted[key])}: {_NEW}")
        both = {key: tuple(dict.fromkeys((*now.typed[key], *texts))) for key, texts in then.items() if not now.is_search}
        return replace(now, typed={**now.typed, **both})

    def check_conf(self, now: Self) -> None:
        """Checks that the conf file says what it said when the sweep began, but for what is typed, and files are as they were.

        Raises:
            ConfigError: they are not, so the jobs to come would not be comparable with those that are done.
        """
        if changed := [name for name, digest in self.inputs.items() if now.inputs.get(name, digest) != digest]:
            raise ConfigError(f"{changed[0]} has changed since the sweep began: put it back as it was, or {_NEW}")
        keys = self.conf.keys() | now.conf.keys()
        typed_keys = self.typed.keys() | now.typed.keys()
        differing = sorted(key for key in keys if self.conf.get(key) != now.conf.get(key) and not _is_within(key, typed_keys))
        if differing:
            told = [f"{key}={shown(self.conf.get(key))} (now {shown(now.conf.get(key))})" for key in differing[:SHOWN]]
            more = f" and {len(differing) - SHOWN} more" if len(differing) > SHOWN else ""
            raise ConfigError(
                f"the conf file has changed since the sweep began, when it had {', '.join(told)}{more}:"
                f" give it these values again, or {_NEW}"
            )


def _masked(key: str, value: Any) -> Any:
    """Returns a value without a password, as JSON will have it."""
    return passwords.redact(f"{key}={value}").removeprefix(f"{key}=") if isinstance(value, str) else for_json(value)


def _counted(values: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    return {key: texts for key, texts in values.items() if len(texts) > 1 or typed.tells_jobs_apart(key)}


def _told(texts: Sequence[str]) -> str:
    return shown(",".join(text.strip('"') for text in texts))


def _is_within(key: str, others: Iterable[str]) -> bool:
    return any(f"{key}.".startswith(f"{other.lstrip('~')}.") for other in others)
