"""Says in one line what is wrong with a configuration, of which Hydra, OmegaConf and YAML speak in terms of their own."""

from __future__ import annotations

import os
import re
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml
from hydra.errors import MissingConfigException
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, InterpolationResolutionError, OmegaConfBaseException

from runner.checks import choices, first_line, is_short, known, meant
from runner.cli import conf_files, conf_places
from runner.config.schema_keys import all_keys
from runner.errors import RunnerError

_LAUNCHERS = {
    "joblib": "hydra-joblib-launcher",
    "submitit_local": "hydra-submitit-launcher",
    "submitit_slurm": "hydra-submitit-launcher",
}
"""Packages of Hydra's launchers, by name."""
_PLAIN = {
    "is not Optional": "it needs a value, and null is none",
    "is not a ListConfig": "it is a list: [A, B]",
    " to Dict[": "it has keys below it, and is no single value",
}
"""What OmegaConf says of values in conf files, by a part of it, in words without its classes."""
_LISTS = {"loader.image_size": "[HEIGHT,WIDTH]"}
"""What is typed for keys that are lists, where one value in brackets would be wrong, too."""
_NOT_FOR_PEOPLE = ("full_key", "object_type", "reference_type")
_YAML_HINTS = {
    "expected ',' or '}', but got '{'": "quote a ${...} within {...}",
    "mapping values are not allowed here": "indent the line as the others of its section; a text with ': ' in it needs quotes",
    "found character '\\t'": "indent by blanks, not by tabs",
}
"""What to do, by a part of what the parser says."""


def message(error: Exception) -> str:
    """Returns what an error says, of whoever it is, in one line of ours."""
    cause = error.__cause__
    if cause is None and not isinstance(error, RunnerError):
        cause = error.__context__  # Hydra hides the cause of what is wrong with a conf file
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        return _missing(error)
    if isinstance(error, yaml.YAMLError):
        return _unreadable(error)
    if isinstance(cause, ConfigKeyError | ConfigAttributeError) and is_dataclass(cause.object_type):
        return f"{_file(error, cause.full_key)}{unknown_key(str(cause.full_key), cause.object_type)}"
    if isinstance(error, RunnerError):
        return _with_choice_meant(str(error))
    if isinstance(error, OSError):  # of Hydra's own: it makes the folder of the run
        where = f": {error.filename!r}" if error.filename else ""
        hint = "" if Path(str(error.filename)).name == conf_files.CONF else " (the run's folder is hydra.run.dir)"
        return f"{error.strerror or error}{where}{hint}"
    if isinstance(error, OverflowError):
        found = re.search(r"^ *full_key: (\S+)", str(error), re.MULTILINE)
        return f"{found[1] if found else 'the configuration'}: a whole number has more than 308 digits"
    if isinstance(cause, OmegaConfBaseException) and re.match(r"In '", str(error)):
        return _with_choice_meant(f"{_file(error, cause.full_key)}{cause.full_key or 'a key'}: {_refused(cause)}")
    if isinstance(cause, OmegaConfBaseException) and (typed := _of_override(str(error), cause)):
        return typed
    if found := re.match(r"Ambiguous value for argument '\+*(.*)'$", str(error).partition("\n")[0]):
        return (
            f"{found[1]} has several values: --multirun runs each of them, KEY=[A,B] is a list, KEY=\\'A,B\\' a text, and a"
            " number has a decimal point"
        )
    if found := re.match(r"(\S+) appears more than once in the final defaults list", str(error)):
        return (
            f"{found[1]} is chosen twice in defaults lists: '- override {found[1]}: NAME', below the others, changes a choice"
        )
    if found := re.match(r"Could not delete (?:from config. )?'([^']*)'(?: does not exist|. No match)", str(error)):
        return f"~{found[1]}: {found[1]} is not set, so there is nothing to take away"
    if found := re.match(r"Could not append to config. An item is already at '([^']*)'", str(error)):
        return f"+{found[1]}: {found[1]} is set already: {found[1]}=VALUE changes it"
    if isinstance(error, InterpolationResolutionError):
        return f"{error.full_key}: {first_line(error)}" if error.full_key else _dangling(error)
    lines = [*str(error).splitlines(), *(str(cause).splitlines() if isinstance(cause, OmegaConfBaseException) else [])]
    told = [line.strip() for line in lines if line.strip() and not line.strip().startswith(_NOT_FOR_PEOPLE)]
    return _with_choice_meant("; ".join(told).removeprefix("Error merging override "))


def _missing(error: MissingConfigException) -> str:
    """Says which conf, or which option of a group, there is not; Hydra has the options of a group only."""
    group, _, name = str(error.missing_cfg_file).partition("/")
    if name.endswith(conf_files.SUFFIXES) and group == conf_files.CONF:
        return f"there is no file {name!r}, neither here nor in conf/"
    if group == "hydra":
        section, _, option = name.partition("/")
        if section == "launcher" and option in _LAUNCHERS:
            return f"{group}/{section}={option} is not installed: pip install {_LAUNCHERS[option]}"
        options = {*(error.options or ()), *(_LAUNCHERS if section == "launcher" else ())}
        return f"{group}/{section}={option} is not known; {choices(option, options)}"
    if Path(conf_files.CONF, f"{name}.yml").is_file() and group == conf_files.CONF:
        return f"conf={name} is not known; conf/{name}.yml is called with its ending: veles-run {name}.yml"
    beside = next((file for suffix in conf_files.SUFFIXES if (file := Path(f"{name}{suffix}")).is_file()), None)
    if beside is not None and group == conf_files.CONF:
        return f"conf={name} is not known; {beside} of this folder is called with its ending: veles-run {beside}"
    by_whom = re.match(r"In '([^']*)'", str(error))
    who = by_whom[1] if by_whom else conf_files.PRIMARY
    if who.endswith(conf_files.SUFFIXES):
        who = who.removeprefix(f"{conf_files.CONF}/")  # a path that was typed
    where = f" ({who} has it in its defaults)" if who != conf_files.PRIMARY else ""
    if group != conf_files.CONF and not conf_files.is_group(group):
        if where and group in conf_files.options(conf_files.CONF):
            return f"{group!r} is not a config group, but a conf: name it /{conf_files.CONF}/{group}{where}"
        return f"{group!r} is not a config group; {choices(group, conf_files.groups())}{where}"
    places = "" if where else " (conf/ of this folder, and of the package)"
    return f"{group}={name} is not known; {choices(name, error.options or conf_files.options(group))}{where}{places}"


def _unreadable(error: yaml.YAMLError) -> str:
    """Says where a conf file stops being YAML, and why."""
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return f"a conf file is not YAML: {' '.join(str(error).split())}"
    mark = error.problem_mark
    begun = error.context_mark
    context = error.context or ""
    where = f", {context} that begins in line {begun.line + 1}" if begun is not None and context.startswith("while") else ""
    name = os.path.relpath(mark.name) if os.path.isabs(mark.name) else mark.name
    hint = next((f": {hint}" for problem, hint in _YAML_HINTS.items() if problem in str(error.problem)), "")
    return f"{name}:{mark.line + 1}:{mark.column + 1}: {error.problem}{where}{hint}"


def _dangling(error: InterpolationResolutionError) -> str:
    """Says what a reference in a key of Hydra's refers to, which is not there; OmegaConf knows no key then."""
    variable = re.search(r"Environment variable '([^']*)' not found", str(error))
    return (
        f"the variable {variable[1]} of the environment, which a key refers to, is not set" if variable else first_line(error)
    )


def _of_override(message: str, cause: OmegaConfBaseException) -> str | None:
    """Says what is wrong with what was typed, where OmegaConf speaks of its own classes."""
    found = re.match(r"Error merging override (\+*~?([^=]*)=?(.*))", message)
    if found is None:
        return None
    typed, key, value = found[1].lstrip("+"), *found.groups()[1:]
    reason = str(cause)
    is_section = any(other.startswith(f"{key}.") for other in all_keys())
    if "is not a ListConfig, list or tuple" in reason:
        return f"{typed}: {key} is a list: {key}={_LISTS.get(key, f'[{value}]')}"
    if "does not support deletion" in reason:
        return f"{typed}: {key} always has a value, so it cannot be taken away: {key}=null unsets it, where nothing is a value"
    if " to Dict[" in reason or (is_section and ("is not a subclass of" in reason or "is not Optional" in reason)):
        return f"{typed}: {key} is a section with keys of its own: {key}.KEY=VALUE"
    return f"{typed}: {key} needs a value, and null is none" if "is not Optional" in reason else None


def _file(error: Exception, key: Any) -> str:
    """Returns the conf file that Hydra could not take, with the line of the key, for the start of a message."""
    found = re.match(r"In '([^']+/[^']*)'", str(error))
    return f"{conf_places.line_of(found[1], str(key or ''))}: " if found else ""


def _refused(cause: OmegaConfBaseException) -> str:
    """Returns why a value does not fit, without the names of classes."""
    line = str(cause).splitlines()[0]
    if found := re.search(r"is not a subclass of \w+\. value: (.*)", line):
        return f"{found[1]!r} is a single value, and the section has keys below it"
    return next((text for part, text in _PLAIN.items() if part in line), line)


def unknown_key(key: str, section: Any) -> str:
    """Says that a key is unknown, and which is meant: one beside it, or one of the same name in another section."""
    *above, name = key.split(".")
    if key in all_keys() and name not in {item.name for item in fields(section)}:
        return f"{key!r} is one word in YAML, where keys have no dots: write {name} below {'.'.join(above)}, indented"
    names = [item.name for item in fields(section)]
    if key == "defaults":
        return "defaults is for conf files: a conf is chosen by its name, and an option of a group by GROUP=OPTION"
    if name in names:
        return f"~{key} takes away what another key is to change: leave one of them out"
    by_name = {other.rpartition(".")[2]: other for other in reversed(all_keys())}
    short = [other for other in by_name if is_short(name, other)]
    close_by = [name] if name in by_name else get_close_matches(name, [*by_name, *names], 1, 0.8) or short
    elsewhere = by_name.get(close_by[0]) if close_by and close_by[0] not in names else None
    close = f"did you mean {elsewhere!r}? " if elsewhere else meant(name, names)
    if above == ["loader"] and not close:
        close = f"a class of your own is given loader.arguments.{name}; "
    return f"{key!r} is not a key; {close}known there: {known(names)}"


def _with_choice_meant(message: str) -> str:
    """Adds which value may be meant to a message of OmegaConf about a choice."""
    found = re.search(r"Invalid value '([^']*)', expected one of \[([^]]*)\]", message)
    close = meant(found[1], found[2].split(", ")) if found else ""
    return f"{message}; {close}".rstrip("; ")
