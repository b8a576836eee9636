"""Alerts from a crossed threshold to a webhook that is not always there."""

import json
import threading
from collections.abc import Generator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from infra.local.relay import delay_s
from tests.e2e.stack import Stack, running, wait_for


class Webhook:
    """A receiver that refuses until it is told not to."""

    def __init__(self) -> None:
        self.is_up = False
        self.refused = 0
        self.accepted: list[tuple[dict[str, str], dict[str, Any]]] = []
        webhook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                if webhook.is_up:
                    webhook.accepted.append(({name.lower(): value for name, value in self.headers.items()}, body))
                else:
                    webhook.refused += 1
                self.send_response(200 if webhook.is_up else 503)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/webhook/litellm-alerts"


def spend(stack: Stack, *, requests: int) -> None:
    """Spend $1.65 with each."""
    for _ in range(requests):
        assert stack.chat("Spend [sandbox: tokens=110000]", max_tokens=110_000).status_code == 200


@pytest.fixture
def webhook() -> Generator[Webhook]:
    webhook = Webhook()
    thread = threading.Thread(target=webhook.server.serve_forever)
    thread.start()
    yield webhook
    webhook.server.shutdown()
    webhook.server.server_close()
    thread.join()


def test_alerts_wait_for_a_webhook_that_is_down_and_arrive_once(webhook: Webhook, tmp_path: Path) -> None:
    with running(tmp_path, {"ALERT_WEBHOOK_URL": webhook.url}) as stack:
        spend(stack, requests=5)
        wait_for(lambda: stack.get("/global/spend")["thresholds_crossed"] == [50, 80])
        wait_for(lambda: webhook.refused >= 2)
        stack.kill("send_alert")
        webhook.is_up = True
        wait_for(lambda: len(webhook.accepted) >= 2)

    alerts = sorted((body["threshold_percent"], headers["idempotency-key"]) for headers, body in webhook.accepted)
    window = webhook.accepted[0][1]["window"]
    assert alerts == [(50, f"global:{window}:50"), (80, f"global:{window}:80")]


def test_an_alert_has_the_fields_that_litellms_receivers_know(webhook: Webhook, tmp_path: Path) -> None:
    webhook.is_up = True
    with running(tmp_path, {"ALERT_WEBHOOK_URL": webhook.url}) as stack:
        spend(stack, requests=4)
        wait_for(lambda: webhook.accepted)

    ((headers, alert),) = webhook.accepted
    assert headers["content-type"] == "application/json"
    assert (alert["alert_type"], alert["event"], alert["event_group"]) == (
        "budget_alerts",
        "threshold_crossed",
        "proxy",
    )
    assert (alert["spend"], alert["max_budget"]) == (pytest.approx(6.6, abs=0.01), 10.0)
    assert alert["event_message"].startswith("Budget alert: 50 % of the global budget is reached, $6.60 of $10.00")
    unset = ("soft_budget", "token", "customer_id", "user_id", "team_id", "user_email", "key_alias", "projected_spend")
    assert {alert[name] for name in unset} == {None}


def test_an_outage_of_an_hour_takes_few_attempts_and_ends_soon_after_it() -> None:
    shortest_sum = sum(delay_s(attempt) for attempt in range(1, 90))

    assert shortest_sum > 3600
    assert all(delay_s(attempt) <= 120 for attempt in range(1, 200))
