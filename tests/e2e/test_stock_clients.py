"""Stock agent frameworks drive a conversation with a tool through the gateway, over each wire.

They keep of an answer only what they know: its text, and the name, the arguments and the id of its calls. The sandbox
refuses, as the providers do, a conversation from which what the provider needs is missing.
"""

from collections.abc import Generator
from typing import Any

import openai
import pytest
import yaml

from tests.e2e.stack import Stack, running

MODELS = ["claude", "claude-thinking", "gpt", "gemini", "gemini-signing"]
ASKED = "Use the tool: what is the weather?"
WEATHER = "21 degrees"
_UPSTREAMS = {
    "claude": "anthropic/claude-sonnet-4-6",
    "claude-thinking": "anthropic/claude-sonnet-4-5",
    "gpt": "openai/gpt-4o",
    "gemini": "gemini/gemini-2.5-pro",
    "gemini-signing": "gemini/gemini-3.1-pro-preview",
}

pytestmark = pytest.mark.filterwarnings("default")  # the frameworks' own


@pytest.fixture(scope="module", autouse=True)
async def one_loop() -> None:
    """Keep one event loop: LangChain keeps its connections from one test to the next."""


@pytest.fixture(scope="module")
def frameworks(tmp_path_factory: pytest.TempPathFactory) -> Generator[Stack]:
    """A stack with models that think, and one that signs its calls."""
    models = [{"model_name": name, "litellm_params": {"model": model}} for name, model in _UPSTREAMS.items()]
    config = tmp_path_factory.mktemp("config") / "gateway.yaml"
    config.write_text(yaml.safe_dump({"model_list": models}))
    environment = {"GATEWAY_CONFIG": str(config), "OPENAI_AGENTS_DISABLE_TRACING": "1"}
    with running(tmp_path_factory.mktemp("state"), environment) as stack:
        yield stack


def client_of(stack: Stack) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{stack.url}/v1", api_key="sk-anything", max_retries=0, timeout=30)


def effort_of(model: str) -> dict[str, Any]:
    return {"reasoning_effort": "low"} if model == "claude-thinking" else {}


@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("model", MODELS)
async def test_langchain(frameworks: Stack, model: str, is_stream: bool) -> None:
    from langchain_core.messages import AIMessageChunk, BaseMessage, HumanMessage, ToolMessage
    from langchain_core.tools import tool
    from langchain_openai import ChatOpenAI
    from pydantic import SecretStr

    @tool
    def weather(city: str) -> str:
        """Tell the weather of a city."""
        return WEATHER

    chat = ChatOpenAI(
        model=model,
        base_url=f"{frameworks.url}/v1",
        api_key=SecretStr("sk-anything"),
        max_retries=0,
        streaming=is_stream,
        **effort_of(model),
    )
    bound = chat.bind_tools([weather])

    async def asked(messages: list[BaseMessage]) -> BaseMessage:
        if not is_stream:
            return await bound.ainvoke(messages)
        whole: AIMessageChunk | None = None
        async for chunk in bound.astream(messages):
            assert isinstance(chunk, AIMessageChunk)
            whole = chunk if whole is None else whole + chunk
        assert whole is not None
        return whole

    messages: list[BaseMessage] = [HumanMessage(ASKED)]
    for _ in range(2):
        messages.append(await asked(messages))
        calls: list[Any] = getattr(messages[-1], "tool_calls", [])
        messages += [ToolMessage(weather.invoke(call["args"]), tool_call_id=call["id"]) for call in calls]

    assert WEATHER in str(messages[-1].content)


@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("model", MODELS)
async def test_openai_agents(frameworks: Stack, model: str, is_stream: bool) -> None:
    from agents import Agent, ModelSettings, OpenAIChatCompletionsModel, Runner, function_tool, set_tracing_disabled
    from openai.types.shared import Reasoning

    @function_tool
    def weather(city: str) -> str:
        """Tell the weather of a city."""
        return WEATHER

    set_tracing_disabled(True)
    reasoning = Reasoning(effort="low") if effort_of(model) else None
    async with client_of(frameworks) as client:
        agent = Agent(
            name="weather",
            model=OpenAIChatCompletionsModel(model=model, openai_client=client),
            tools=[weather],
            model_settings=ModelSettings(reasoning=reasoning),
        )
        if is_stream:
            streamed = Runner.run_streamed(agent, ASKED, max_turns=3)
            async for _ in streamed.stream_events():
                pass
            output = streamed.final_output
        else:
            output = (await Runner.run(agent, ASKED, max_turns=3)).final_output

    assert WEATHER in output


@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("model", MODELS)
async def test_pydantic_ai(frameworks: Stack, model: str, is_stream: bool) -> None:
    from pydantic_ai import Agent
    from pydantic_ai.models.openai import OpenAIChatModel, OpenAIChatModelSettings
    from pydantic_ai.providers.openai import OpenAIProvider

    def weather(city: str) -> str:
        """Tell the weather of a city."""
        return WEATHER

    settings = OpenAIChatModelSettings(openai_reasoning_effort="low") if effort_of(model) else None
    async with client_of(frameworks) as client:
        chat = OpenAIChatModel(model, provider=OpenAIProvider(openai_client=client))
        agent = Agent(chat, tools=[weather], model_settings=settings)
        if is_stream:
            async with agent.run_stream(ASKED) as streamed:
                output = await streamed.get_output()
        else:
            output = (await agent.run(ASKED)).output

    assert WEATHER in output


async def test_a_conversation_goes_on_with_any_other_provider(frameworks: Stack) -> None:
    """Each model takes over a conversation that each other one has begun, whole message and all."""
    tools: Any = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]
    asked: list[Any] = [{"role": "user", "content": ASKED}]
    async with client_of(frameworks) as client:
        for begins in MODELS:
            first = await client.chat.completions.create(
                model=begins, messages=asked, tools=tools, extra_body=effort_of(begins)
            )
            message = first.choices[0].message
            assert message.tool_calls
            echoed: Any = message.model_dump(exclude_none=True)
            result = {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": WEATHER}
            for goes_on in MODELS:
                messages: list[Any] = [*asked, echoed, result]
                second = await client.chat.completions.create(
                    model=goes_on, messages=messages, tools=tools, extra_body=effort_of(goes_on)
                )
                assert WEATHER in (second.choices[0].message.content or ""), f"{begins} → {goes_on}"
