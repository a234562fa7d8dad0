"""Files of settings: read as YAML, laid one over another."""

import difflib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml


class SettingsError(ValueError):
    """A setting is wrong; the message is one sentence with the setting's path."""


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with what `over` says, section by section; a section in which nothing stands changes nothing.

    Raises `SettingsError` with the path of a key that `base` has not.
    """
    return _laid(base, over, "", list(_paths(base)))


def _laid(base: Mapping[str, Any], over: Mapping[str, Any], place: str, known: list[str]) -> dict[str, Any]:
    out = dict(base)
    for key, value in over.items():
        path = f"{place}{key}"
        if key not in base:
            raise SettingsError(f"Unknown setting {path}; did you mean {_meant(path, known)}?")
        section = base[key]
        is_section = isinstance(section, Mapping) and (value is None or isinstance(value, Mapping))
        out[key] = _laid(section, value or {}, f"{path}.", known) if is_section else value
    return out


def _meant(path: str, known: list[str]) -> str:
    """The nearest known path; where the path itself is one, how it is written."""
    near = difflib.get_close_matches(path, known, 1, 0)[0]
    return near.replace(".", ": {") + ": …" + "}" * near.count(".") if near == path else near


def _paths(data: Mapping[str, Any], place: str = "") -> Iterator[str]:
    for key, value in data.items():
        if isinstance(value, Mapping):
            yield from _paths(value, f"{place}{key}.")
        else:
            yield f"{place}{key}"


class _Once(yaml.SafeLoader):
    """Refuses a key that stands twice in a mapping, of which YAML's loaders take the last without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """As the library's."""
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode) and key.value != "<<"]
        if twice := [key for key in keys if keys.count(key) > 1]:
            raise yaml.constructor.ConstructorError(None, None, f"{twice[0]} stands there twice", node.start_mark)
        return super().construct_mapping(node, deep)


def read_file(path: Path) -> Mapping[str, Any]:
    """What stands in a settings file, unchecked. Raises `SettingsError`: it cannot be read, is no YAML, or no mapping."""
    try:
        data = yaml.load(path.read_text(encoding="utf-8"), _Once)
    except OSError as error:
        raise SettingsError(f"The settings file {path} cannot be read: {error.strerror}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingsError(f"The settings file {path} is not valid YAML: {' '.join(str(error).split())}.") from error
    if data is None:
        return {}
    if not isinstance(data, Mapping):
        raise SettingsError(f"The settings file {path} must hold a mapping such as 'phase3: {{detail: 0.0002}}'.")
    return data
