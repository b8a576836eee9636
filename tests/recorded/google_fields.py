"""Where each field of Google's answers goes.

A `*` stands for whatever is below: an object of the model's or of a tool's, or metadata that is handed on as it is.
"""

_PARTS = "candidates[].content.parts[]"

MAPPED = frozenset({
    # the text and its thoughts
    f"{_PARTS}.text",
    f"{_PARTS}.thought",
    f"{_PARTS}.thoughtSignature",
    # calls
    f"{_PARTS}.functionCall.name",
    f"{_PARTS}.functionCall.id",
    f"{_PARTS}.functionCall.args.*",
    f"{_PARTS}.functionCall.willContinue",
    f"{_PARTS}.functionCall.partialArgs.*",
    # provider_specific_fields.gemini_parts
    f"{_PARTS}.executableCode.*",
    f"{_PARTS}.codeExecutionResult.*",
    f"{_PARTS}.toolCall.*",
    f"{_PARTS}.toolResponse.*",
    # images, audio
    f"{_PARTS}.inlineData.mimeType",
    f"{_PARTS}.inlineData.data",
    # choices
    "candidates[].index",
    "candidates[].finishReason",
    "candidates[].logprobsResult.chosenCandidates[].token",
    "candidates[].logprobsResult.chosenCandidates[].logProbability",
    "candidates[].logprobsResult.topCandidates[].candidates[].token",
    "candidates[].logprobsResult.topCandidates[].candidates[].logProbability",
    # provider_specific_fields, and of the first two also annotations
    "candidates[].groundingMetadata.*",
    "candidates[].citationMetadata.*",
    "candidates[].urlContextMetadata.*",
    "candidates[].safetyRatings.*",
    "candidates[].avgLogprobs",
    "candidates[].finishMessage",
    "promptFeedback.*",
    # id, created, model
    "responseId",
    "createTime",
    "modelVersion",
    # usage
    "usageMetadata.promptTokenCount",
    "usageMetadata.candidatesTokenCount",
    "usageMetadata.thoughtsTokenCount",
    "usageMetadata.toolUsePromptTokenCount",
    "usageMetadata.cachedContentTokenCount",
    "usageMetadata.serviceTier",
    "usageMetadata.trafficType",
    "usageMetadata.promptTokensDetails[].modality",
    "usageMetadata.promptTokensDetails[].tokenCount",
    "usageMetadata.cacheTokensDetails[].modality",
    "usageMetadata.cacheTokensDetails[].tokenCount",
    "usageMetadata.candidatesTokensDetails[].modality",
    "usageMetadata.candidatesTokensDetails[].tokenCount",
})  # fmt: skip

_OF_TOOLS = "the sum is given; of kinds only audio matters, and is mapped"

DROPPED = {
    "candidates[].content": "empty",
    f"{_PARTS}": "empty",
    f"{_PARTS}.functionCall": "empty: the end of a call that came in pieces",
    f"{_PARTS}.functionCall.args": "empty: arguments are `{}` without it",
    "candidates[].content.role": "always `model`; OpenAI says `assistant`",
    "candidates[].logprobsResult.chosenCandidates[].tokenId": "a number in Google's vocabulary",
    "candidates[].logprobsResult.topCandidates[].candidates[].tokenId": "as of the chosen ones",
    "candidates[].groundingMetadata": "empty",
    "promptFeedback": "empty",
    "usageMetadata.totalTokenCount": "the sum of the others",
    "usageMetadata.toolUsePromptTokensDetails[].modality": _OF_TOOLS,
    "usageMetadata.toolUsePromptTokensDetails[].tokenCount": _OF_TOOLS,
}
