"""The variables that the functions read."""

import pytest

from functions.bootstrap import read_environment
from functions.gateway.config import ConfigError

_WORD = "is not accepted; write printable ASCII without blanks"
_URL = "is not accepted; write an http:// or https:// URL with a host"


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("GATEWAY_BACKEND", "foo", "'foo' is not accepted; write embedded or google"),
        ("OPENAI_BASE_URL", "localhost:8000", _URL),
        ("ANTHROPIC_BASE_URL", "ftp://secret.example", _URL),
        ("GOOGLE_GEMINI_BASE_URL", "https://", _URL),
        ("ALERT_WEBHOOK_URL", "secret-webhook", _URL),
        ("ALERT_WEBHOOK_URL", "https://secret.example/a b", _URL),
        ("OPENAI_API_KEY", "sk-secret\n", _WORD),
        ("LITELLM_MASTER_KEY", "sk secret", _WORD),
        ("LITELLM_MASTER_KEY", "sk-secret-ключ", _WORD),
    ],
)
def test_a_wrong_variable_is_refused_by_name_without_its_secret(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str
) -> None:
    monkeypatch.setenv(name, value)

    with pytest.raises(ConfigError) as refused:
        read_environment()

    assert str(refused.value) == f"{name}: {message}"
