"""Everything that the README says to do, done as it is written there."""

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from events.accounts import AccountKind
from functions.bootstrap import Environment
from functions.gateway import account_shapes
from functions.gateway.key_shapes import SETTINGS
from functions.gateway.settings import (
    GatewayFile,
    GeneralSettings,
    LitellmParams,
    LitellmSettings,
    ModelInfo,
    RouterSettings,
    RoutingStrategyArgs,
)
from functions.gateway.wishes import OWN_FIELDS, WISH_HEADERS
from tests.e2e.stack import ROOT, Stack, clean_environment, running, wait_for

README = (ROOT / "README.md").read_text()
_BLOCK = re.compile(r"<!-- test: (?P<name>[\w-]+) -->\n+```(?P<language>\w+)\n(?P<code>.*?)```", re.DOTALL)
_SHOWN = re.compile(r"\n```\n(?P<shown>.*?)```", re.DOTALL)
_HEADER = re.compile(r"x-litellm-[a-z-]+|x-gateway-[a-z-]+|retry-after|x-should-retry")
BLOCKS = {match["name"]: match for match in _BLOCK.finditer(README)}


def shown_after(name: str) -> list[str]:
    """The output that the README shows below an example, by line."""
    match = _SHOWN.search(README, BLOCKS[name].end())
    assert match
    return match["shown"].splitlines()


def run_block(name: str, stack: Stack) -> str:
    """Run an example as pasted, apart from its ports."""
    block = BLOCKS[name]
    code = block["code"].replace("http://127.0.0.1:8080", stack.url).replace("http://127.0.0.1:8140", stack.sandbox_url)
    command = ["bash", "-eo", "pipefail", "-c", code] if block["language"] == "bash" else [sys.executable, "-c", code]
    environment = clean_environment() | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    environment |= {name: value for name, value in stack.environment.items() if name == "LITELLM_MASTER_KEY"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_example_is_run_by_a_test() -> None:
    names = "curl python fallback all-fail budget alerts refused replay ledger keys teams spend"
    assert set(BLOCKS) == set(names.split())


def test_the_curl_example_answers(own_stack: Stack) -> None:
    answer = json.loads(run_block("curl", own_stack))

    assert answer["choices"][0]["message"]["content"].endswith("You said: Say hello")


def test_the_python_example_answers_and_streams(own_stack: Stack) -> None:
    said = run_block("python", own_stack)

    assert said.count("You said: Say hello") == 2
    assert "CompletionUsage(completion_tokens=" in said


def test_a_fallback_shows_as_the_readme_shows_it(own_stack: Stack) -> None:
    seen = run_block("fallback", own_stack).splitlines()

    assert set(shown_after("fallback")) <= {line.strip() for line in seen}


def test_when_all_fail_every_attempt_is_shown(own_stack: Stack) -> None:
    error = json.loads(run_block("all-fail", own_stack))["error"]

    assert error["code"] == "all_models_failed"
    assert [attempt["status"] for attempt in error["attempts"]] == [
        "529",
        "connection_error",
        "connection_error",
        "503",
    ]


def test_a_budget_fills_alerts_and_refuses_as_the_readme_tells_it(own_stack: Stack) -> None:
    *_, spend = run_block("budget", own_stack).splitlines()
    assert json.loads(spend)["max_budget"] == 10.0
    wait_for(lambda: own_stack.get("/global/spend")["spend"] > 5.7)
    wait_for(lambda: own_stack.sandbox("/alerts"))
    assert [alert["threshold_percent"] for alert in json.loads(run_block("alerts", own_stack))] == [50]

    *statuses, refusal = run_block("refused", own_stack).splitlines()
    error = json.loads(refusal)["error"]
    assert statuses == ["200"] * 5 + ["429"]
    assert (error["code"], error["scope"], error["max_budget"]) == ("budget_exceeded", "global", 10.0)
    assert 9.9 < wait_for(lambda: own_stack.get("/global/spend")["spend"]) <= 10


def test_the_ledger_is_replayed_as_the_readme_says(own_stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GATEWAY_BACKEND", "STATE_DIR"):
        monkeypatch.setenv(name, own_stack.environment[name])
    code = BLOCKS["replay"]["code"].replace("GATEWAY_BACKEND=embedded ", "").replace(".venv/bin/python", sys.executable)
    own_stack.chat()
    wait_for(lambda: own_stack.get("/global/spend")["spend"] > 0)

    done = subprocess.run(["bash", "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (0, "1 counters replayed, 0 differ\n"), done.stderr


def test_the_ledger_is_taken_elsewhere_as_the_readme_says(own_stack: Stack, tmp_path: Path) -> None:
    code = BLOCKS["ledger"]["code"].replace(".venv/bin/python", sys.executable)
    code = code.replace("ledger.jsonl", str(tmp_path / "ledger.jsonl")).replace(".local/copy", str(tmp_path / "copy"))
    environment = clean_environment() | own_stack.environment
    own_stack.chat()
    wait_for(lambda: own_stack.get("/global/spend")["spend"] > 0)

    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", code.replace("GATEWAY_BACKEND=embedded ", "")],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"[1-9]\d* events are new, 0 were known, 0 are refused\n", done.stdout)


def test_a_key_is_made_and_used_as_the_readme_says(tmp_path: Path) -> None:
    with running(tmp_path, {"LITELLM_MASTER_KEY": "sk-master-key-of-the-readme"}) as stack:
        answer = json.loads(run_block("keys", stack))

    assert answer["choices"][0]["message"]["content"].endswith("You said: Say hello")


def test_what_was_spent_is_seen_as_the_readme_says(own_stack: Stack) -> None:
    models, report, page, *table = run_block("spend", own_stack).splitlines()

    assert [customer["customer"] for customer in json.loads(report)[0]["customers"]] == ["ada"]
    assert [model["model"] for model in json.loads(models)] == ["anthropic/claude-sonnet-4-6"]
    (row,) = json.loads(page)["data"]
    assert (row["model_group"], row["status"], row["spend"] > 0) == ("claude-sonnet", "success", True)
    assert [line.partition(",")[0] for line in table] == ["request_id", row["request_id"]]


def test_a_team_and_a_user_limit_a_key_as_the_readme_says(tmp_path: Path) -> None:
    with running(tmp_path, {"LITELLM_MASTER_KEY": "sk-master-key-of-the-readme"}) as stack:
        said = run_block("teams", stack)

    error = json.loads(said[said.rindex('{"error"') :])["error"]
    assert (error["code"], error["type"]) == ("model_not_allowed", "team_model_access_denied")


@pytest.mark.parametrize("kind", ["user", "team"])
def test_every_setting_of_users_and_teams_is_described(kind: AccountKind) -> None:
    section = README.partition("## Users and teams")[2].partition("\n## ")[0]

    assert [name for name in account_shapes.SETTINGS[kind] if f"`{name}`" not in section] == []


@pytest.mark.parametrize("field", sorted(SETTINGS))
def test_every_field_of_a_key_is_described(field: str) -> None:
    table = README.partition("## Keys")[2].partition("| field | |")[2].partition("\n\n")[0]

    assert any(f"`{field}`" in row.split(" | ")[0] for row in table.splitlines())


def test_the_two_commands_come_first() -> None:
    start = README.partition("## Start")[2].partition("```bash")[2].partition("```")[0]

    commands = [line.partition("#")[0].strip() for line in start.strip().splitlines()]
    assert commands == ["bash infra/local/up", "bash tests/run"]


def test_arguments_of_the_test_command_go_to_pytest() -> None:
    shown = subprocess.run(["bash", "tests/run", "--version"], cwd=ROOT, capture_output=True, text=True, check=True)

    assert shown.stdout.startswith("pytest ") or shown.stderr.startswith("pytest ")


def test_continuous_integration_runs_the_readmes_command() -> None:
    assert "bash tests/run" in (ROOT / ".ci/run").read_text()


def described() -> str:
    return README.partition("## Configuration")[2]


@pytest.mark.parametrize("variable", [name.upper() for name in Environment.model_fields])
def test_every_variable_is_described(variable: str) -> None:
    assert f"`{variable}`" in described()


def settings() -> list[str]:
    """The path of every setting of the configuration file, as far as the README names them."""
    sections = {"router_settings": RouterSettings, "litellm_settings": LitellmSettings}
    named = {f"{section}.{name}" for section, model in sections.items() for name in model.model_fields}
    named |= {f"general_settings.{name}" for name in GeneralSettings.model_fields}
    named |= {f"litellm_params.{name}" for name in LitellmParams.model_fields}
    named |= {f"model_info.{name}" for name in ModelInfo.model_fields}
    named |= {f"routing_strategy_args.{name}" for name in RoutingStrategyArgs.model_fields}
    nested = {"litellm_params", "model_info", "routing_strategy_args"}
    assert {name.partition(".")[0] for name in named} <= {*GatewayFile.model_fields, *nested}
    return sorted(named)


@pytest.mark.parametrize("setting", settings())
def test_every_setting_is_described(setting: str) -> None:
    section, _, name = setting.partition(".")
    rows = [line for line in described().splitlines() if f".{name}`" in line]

    assert any(section in row or "`…." in row or "`." in row for row in rows), f"{setting} is not in the README"


def headers() -> list[str]:
    """The names of the headers that an answer may have beside OpenAI's, wherever the code writes them."""
    written = [
        node.value
        for path in (ROOT / "functions").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    return sorted({name for name in written if _HEADER.fullmatch(name)} - {"x-litellm-api-key", *WISH_HEADERS})


@pytest.mark.parametrize("name", [*sorted(OWN_FIELDS), *WISH_HEADERS])
def test_every_way_to_say_how_a_request_is_routed_is_described(name: str) -> None:
    table = README.partition("| field | header | |")[2].partition("\n\n")[0]

    assert any(f"`{name}`" in " | ".join(row.split(" | ")[:2]) for row in table.splitlines())


@pytest.mark.parametrize("header", headers())
def test_every_header_of_an_answer_is_described(header: str) -> None:
    rows = [line.split(" | ")[0] for line in README.splitlines() if line.startswith("| `")]

    assert any(f"`{header}`" in names for names in rows)


def test_the_files_that_the_readme_names_are_there() -> None:
    links = re.findall(r"\]\(([\w./-]+)\)", README)

    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
