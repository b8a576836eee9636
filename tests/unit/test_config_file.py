"""The configuration file on the disk."""

from pathlib import Path

import pytest

from functions.adapters.config_file import read_config_file
from functions.gateway.config import ConfigError


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a: {b: [{c: 1, d: 2, c: 3}]}", "a.b[0].c: is there twice; leave one of them out"),
        (b"a: 1\nb: 2\na: 1\n", "a: is there twice; leave one of them out"),
        (b"a: &a [1, *a]", "a[1]: contains itself, by an alias; write it out"),
        (b"a: &a {b: *a}", "a.b: contains itself, by an alias; write it out"),
        (b"a: caf\xe9", "is not UTF-8 at byte 6; save it as UTF-8"),
        (b"a: [1", "is not YAML at line 1, column 6: expected ',' or ']', but got '<stream end>'"),
        (b"a: *b", "is not YAML at line 1, column 4: found undefined alias 'b'"),
        (b"a: 2026-99-99", "is not YAML: month must be in 1..12"),
        (b"a: !!bool maybe", "is not YAML: 'maybe'"),
        (b"a: !!python/name:os.system x", "is not YAML at line 1, column 4: could not determine a constructor for"),
        (b"a: \x01", "is not YAML: unacceptable character"),
        (b"[" * 5000, "is nested too deeply"),
    ],
)
def test_what_can_not_be_meant_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "gateway.yaml").write_bytes(content)

    with pytest.raises(ConfigError) as refused:
        read_config_file(tmp_path / "gateway.yaml")

    assert str(refused.value).startswith(message)
    assert "\n" not in str(refused.value)


def test_an_alias_may_be_used_twice(tmp_path: Path) -> None:
    (tmp_path / "gateway.yaml").write_text("a: &a {x: 1}\nb: *a\nc: {<<: *a, x: 2}\n")

    assert read_config_file(tmp_path / "gateway.yaml") == {"a": {"x": 1}, "b": {"x": 1}, "c": {"x": 2}}


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="can't be read \\(No such file or directory\\)"):
        read_config_file(tmp_path / "gateway.yaml")
