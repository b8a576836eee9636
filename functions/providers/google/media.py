"""OpenAI's content parts as Google's: what is inline, and what Google fetches by its address.

Sources: https://ai.google.dev/api/caching#Part, https://ai.google.dev/gemini-api/docs/file-input-methods
"""

import mimetypes
import re
from collections.abc import Mapping
from typing import Any, cast

from functions.gateway.addresses import is_public
from functions.gateway.errors import BadRequest
from functions.providers.parts import unsupported_part

_PROVIDER = "gemini"
_FILES = "https://generativelanguage.googleapis.com/v1beta/"
_DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+(?:;[\w=.+-]+)*?);base64,")
# https://ai.google.dev/gemini-api/docs/audio#supported-formats; OpenAI's names are shorter
_AUDIO_TYPES = {"pcm16": "audio/pcm", "m4a": "audio/mp4", "mpga": "audio/mpeg"}


def media_part(part: Mapping[str, Any], path: str) -> dict[str, Any]:
    """Give a content part. `path` is the field's. Raises `BadRequest`, `UpstreamError`."""
    match part["type"]:
        case "text":
            return {"text": part["text"]}
        case "refusal":
            return {"text": part["refusal"]}
        case "image_url":
            return _from_url(part["image_url"], f"{path}.image_url", default="image/jpeg")
        case "video_url":
            return _video(part, path)
        case "input_audio":
            return _audio(part["input_audio"], f"{path}.input_audio")
        case "file":
            return _file(part["file"], f"{path}.file")
        case _:
            raise unsupported_part(part, _PROVIDER)


def inline(url: str) -> dict[str, Any] | None:
    """Give a data URL's content, or nothing for another URL or a broken one."""
    head = _DATA_URL.match(url)
    return {"inlineData": {"mimeType": head[1], "data": url[head.end() :]}} if head else None


def _video(part: Mapping[str, Any], path: str) -> dict[str, Any]:
    video = _from_url(part["video_url"], f"{path}.video_url", default="video/mp4")
    metadata = part.get("video_metadata")
    return {**video, "videoMetadata": metadata} if metadata else video


def _audio(audio: Mapping[str, Any], path: str) -> dict[str, Any]:
    name, data = audio.get("format"), audio.get("data")
    if not isinstance(name, str) or not isinstance(data, str):
        missing = "data" if isinstance(name, str) else "format"
        raise BadRequest(f"{path}.{missing} must be a string.", param=f"{path}.{missing}")
    return {"inlineData": {"mimeType": _AUDIO_TYPES.get(name, f"audio/{name}"), "data": data}}


def _file(file: Mapping[str, Any], path: str) -> dict[str, Any]:
    """Give a file: its content as a data URL, or a file that Google has (`files/…`, or its URI) or can fetch."""
    data, file_id, name = file.get("file_data"), file.get("file_id"), file.get("filename")
    if isinstance(data, str) and data.startswith(("http://", "https://")):  # as clients of LiteLLM write
        return _by_address(data, file.get("format") or _guessed(data), f"{path}.file_data")
    if isinstance(data, str):
        found = inline(data)
        if found is None:
            message = f"{path}.file_data must be `data:<media type>;base64,<data>`."
            raise BadRequest(message, param=f"{path}.file_data")
        return found
    if not isinstance(file_id, str) or not file_id:
        raise BadRequest(f"{path} needs file_data or file_id.", param=path)
    uri = _FILES + file_id if file_id.startswith("files/") else file_id
    media_type = file.get("format") or _guessed(name if isinstance(name, str) else file_id)
    return _by_address(uri, media_type, f"{path}.file_id")


def _from_url(source: Any, path: str, *, default: str) -> dict[str, Any]:
    """Give what a URL holds or points to; `format` may name its media type."""
    given: dict[str, Any] = cast("dict[str, Any]", source) if isinstance(source, dict) else {"url": source}
    url: Any = given.get("url")
    if not isinstance(url, str):
        raise BadRequest(f"{path}.url must be a string.", param=f"{path}.url")
    if not url.startswith("data:"):
        return _by_address(url, given.get("format") or _guessed(url) or default, f"{path}.url")
    found = inline(url)
    if found is None:
        raise BadRequest(f"{path}.url must be `data:<media type>;base64,<data>`.", param=f"{path}.url")
    return found


def _by_address(uri: str, media_type: str | None, path: str) -> dict[str, Any]:
    scheme = uri.partition(":")[0].lower()
    if scheme not in ("https", "http", "gs"):
        raise BadRequest(f"{path} must be an https, gs or data URL, not {uri[:40]!r}.", param=path)
    if scheme != "gs" and not is_public(uri):
        raise BadRequest(f"{path} points to a private address, which the provider can't fetch.", param=path)
    return {"fileData": {"fileUri": uri, **({"mimeType": media_type} if media_type else {})}}


def _guessed(name: str) -> str | None:
    return mimetypes.guess_type(name.partition("?")[0])[0]
