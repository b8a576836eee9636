"""What becomes of each Chat Completions parameter on a provider's wire, as data: encoders follow it, docs show it.

Source of the names: https://platform.openai.com/docs/api-reference/chat/create
"""

from dataclasses import dataclass
from typing import Literal

KNOWN = (
    "messages", "model", "stream", "stream_options", "max_tokens", "max_completion_tokens", "temperature", "top_p",
    "top_k", "n", "stop", "seed", "logprobs", "top_logprobs", "logit_bias", "presence_penalty", "frequency_penalty",
    "tools", "tool_choice", "parallel_tool_calls", "functions", "function_call", "response_format",
    "reasoning_effort", "thinking", "verbosity", "modalities", "audio", "prediction", "web_search_options",
    "service_tier", "user", "safety_identifier", "prompt_cache_key", "prompt_cache_retention", "metadata", "store",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Treatment:
    """One parameter on one wire. `note` says as what it is sent, how it is emulated, or why it is not.

    `dropped` ones are left out and named in a header, or refused where the configuration says so; `refused` ones are
    left to another model of the chain, because an answer without them would be a wrong one.
    """

    kind: Literal["sent", "emulated", "dropped", "refused"]
    note: str
