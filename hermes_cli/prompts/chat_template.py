"""A chat template as the files of a model declare it."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple


class ChatTemplate(NamedTuple):
    """The source of a chat template. `special_tokens` are the texts of `bos_token` and others.

    If the model `adds_bos`, each prompt begins with this token, even if the template does not contain it. If
    the prompt `begins_with_text`, this is the only control token in it.
    """

    source: str
    special_tokens: Mapping[str, str] = MappingProxyType({})
    adds_bos: bool = False
    begins_with_text: bool = False
