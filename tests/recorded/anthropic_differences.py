"""Where what is sent is not what was recorded: exchange → place → why that is right."""

DIFFERENCES: dict[str, dict[str, str]] = {
    "messages-10e53c1d-51be-4c64-b5bf-99adb3fa4719-af4fec": {
        "messages[].content[].caller.type": "OpenAI's tool call has no caller; direct is what no caller means",
    },
    "messages-testtokencounts-test-anthropic-704333": {
        "system": "an empty system prompt says nothing, and as a message of no text is left out",
    },
}
