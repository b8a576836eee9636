"""The configuration file as it lies on the disk: YAML, of which nothing is guessed."""

from pathlib import Path as FilePath
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from functions.gateway.config import ConfigError
from functions.gateway.settings import Path, path_of

_MERGE = "tag:yaml.org,2002:merge"


def read_config_file(path: FilePath) -> Any:
    """Give the file's content. Raises `ConfigError` for what is no file, no text, no YAML, or says a thing twice."""
    try:
        return _parsed(path.read_text(encoding="utf-8"))
    except ConfigError:
        raise
    except OSError as error:
        raise ConfigError(f"can't be read ({error.strerror}); write YAML there, or set GATEWAY_CONFIG") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"is not UTF-8 at byte {error.start}; save it as UTF-8") from error
    except yaml.MarkedYAMLError as error:
        raise ConfigError(f"is not YAML{_place(error)}: {error.problem}") from error
    except (yaml.YAMLError, ValueError, LookupError, AttributeError) as error:  # a tag's value is not of its kind
        raise ConfigError(f"is not YAML: {' '.join(str(error).split())}") from error
    except RecursionError as error:
        raise ConfigError("is nested too deeply; write settings as README.md shows them") from error


def _parsed(text: str) -> Any:
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _check(node, (), ())
        return loader.construct_document(node)  # pyright: ignore[reportUnknownMemberType]
    finally:
        loader.dispose()


def _check(node: Node, path: Path, around: tuple[Node, ...]) -> None:
    """Raise `ConfigError` for a key that is there twice, of which one would silently win, and for endless nesting."""
    if node in around:
        raise ConfigError(f"{path_of(path)}: contains itself, by an alias; write it out")
    around = (*around, node)
    if isinstance(node, SequenceNode):
        for position, item in enumerate(node.value):
            _check(item, (*path, position), around)
    if isinstance(node, MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            name = str(key.value) if isinstance(key, ScalarNode) else "?"
            if name in seen and key.tag != _MERGE:
                raise ConfigError(f"{path_of((*path, name))}: is there twice; leave one of them out")
            seen.add(name)
            _check(value, (*path, name), around)


def _place(error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    return "" if mark is None else f" at line {mark.line + 1}, column {mark.column + 1}"
