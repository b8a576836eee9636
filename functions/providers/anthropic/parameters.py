"""What becomes of each Chat Completions parameter on the Messages wire.

Source: https://platform.claude.com/docs/en/api/messages/create
"""

from collections.abc import Mapping

from functions.providers.parameters import Treatment

PARAMETERS: Mapping[str, Treatment] = {
    "messages": Treatment(
        "sent",
        "`system` and `messages`; neighbours of one role become one turn. A system message after the first turn stays "
        "in its place where the model takes it there, and joins `system` elsewhere. A trailing assistant message is a "
        "prefill; a model that refuses prefill is passed over. Names are written before the text where users differ",
    ),
    "model": Treatment("sent", "`model`, the upstream's own name"),
    "stream": Treatment("sent", "`stream`"),
    "stream_options": Treatment("emulated", "usage comes in every stream; the gateway shows it when asked"),
    "max_tokens": Treatment(
        "sent", "`max_tokens`, at most the model's limit; 16384, and the thinking budget, where it is absent"
    ),
    "max_completion_tokens": Treatment("sent", "`max_tokens`, before `max_tokens` itself"),
    "temperature": Treatment(
        "sent", "`temperature`, cut to 1; dropped where the model takes none, and beside thinking unless it is 1"
    ),
    "top_p": Treatment(
        "sent", "`top_p`; dropped where the model takes none, beside `temperature`, and under 0.95 beside thinking"
    ),
    "top_k": Treatment("sent", "`top_k`; dropped where the model takes none, and beside thinking"),
    "n": Treatment("dropped", "there is one answer; 1 asks for nothing"),
    "stop": Treatment("sent", "`stop_sequences`; those of white space alone are refused upstream and left out"),
    "seed": Treatment("dropped", "no such parameter"),
    "logprobs": Treatment("dropped", "no such parameter"),
    "top_logprobs": Treatment("dropped", "no such parameter"),
    "logit_bias": Treatment("dropped", "no such parameter"),
    "presence_penalty": Treatment("dropped", "no such parameter"),
    "frequency_penalty": Treatment("dropped", "no such parameter"),
    "tools": Treatment(
        "sent",
        "`tools`: `parameters` as `input_schema`. Tools with a `type` of Anthropic's own pass as they are, but for "
        "the advisor, whose tokens have other prices: it is left to another model. In a strict tool what its grammar "
        "can't hold (`minimum`, `maxLength`, …) moves into the description",
    ),
    "tool_choice": Treatment(
        "sent",
        "`tool_choice`: required is `any`, a named function `tool`. Asked for in words on models that can't be forced; "
        "thinking is left out beside a forced choice, unless the model always thinks",
    ),
    "parallel_tool_calls": Treatment("sent", "false is `tool_choice.disable_parallel_tool_use`"),
    "functions": Treatment("emulated", "as `tools`; a call comes back as `function_call`"),
    "function_call": Treatment("emulated", "as `tool_choice`"),
    "response_format": Treatment(
        "sent",
        "json_schema: `output_config.format`, where the model has it, with what its grammar can't hold moved into "
        "descriptions. Else, and json_object: a forced tool whose input is the answer, or, beside tools, thinking or "
        "where nothing can be forced, an instruction",
    ),
    "reasoning_effort": Treatment(
        "sent",
        "adaptive thinking and the nearest `output_config.effort`; `thinking.budget_tokens` on models that take a "
        "budget only (low 1024, medium 2048, high 4096, xhigh 8192, max 16384); none turns thinking off where it can",
    ),
    "thinking": Treatment(
        "sent",
        "`thinking`; a budget becomes an effort, or the reverse, where the model takes only the other, and stays "
        "within 1024 and `max_tokens`. Left out where a tool is forced, and where the turn's thinking blocks were lost "
        "and the model insists on them. Thinking blocks are left out where the request doesn't think",
    ),
    "verbosity": Treatment("dropped", "no such parameter"),
    "modalities": Treatment("refused", "text alone, or nothing, asks for nothing; another modality can't be answered"),
    "audio": Treatment("refused", "there is no audio output"),
    "prediction": Treatment("dropped", "no such parameter; it changes the speed, not the answer"),
    "web_search_options": Treatment("sent", "the server tool `web_search`; the context's size bounds `max_uses`"),
    "service_tier": Treatment(
        "sent", "`service_tier`: default is `standard_only`, priority is `auto`; flex and scale are dropped"
    ),
    "user": Treatment("sent", "`metadata.user_id`"),
    "safety_identifier": Treatment("sent", "`metadata.user_id`, before `user`"),
    "prompt_cache_key": Treatment("dropped", "caching is asked for with `cache_control`"),
    "prompt_cache_retention": Treatment("dropped", "caching is asked for with `cache_control`"),
    "metadata": Treatment("sent", "`metadata.user_id` alone, before `safety_identifier`"),
    "store": Treatment("dropped", "nothing is stored"),
}
