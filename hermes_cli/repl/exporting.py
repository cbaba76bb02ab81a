"""`/export`: the conversation that is open, in one of the formats, to a file of one's own."""

from collections.abc import Mapping

from hermes_cli.errors import UsageError
from hermes_cli.formats import files
from hermes_cli.formats import table as formats
from hermes_cli.formats.transcript import Transcript
from hermes_cli.private_files import write_private
from hermes_cli.repl.conversations import this_conversation
from hermes_cli.repl.state import State


def choices(_state: State) -> Mapping[str, str]:
    """Return the formats that a conversation can be written in."""
    return {known.name: known.help for known in formats.FORMATS}


def export(state: State, argument: str) -> None:
    """`/export`: write this conversation to a file; without a name, to one of its title in this folder.

    A file that is there stays as it is.
    """
    store, number = this_conversation(state)
    known, name = _format_and_file(argument)
    found = store.conversation(number)
    if found is None:
        raise UsageError("this conversation was deleted elsewhere", "/sessions lists what there is")
    transcript = Transcript(found, tuple(store.tree(number)))
    path = files.place(name, found.title, known.ending)
    write_private(path, formats.write(known, [transcript]).encode(), hint=files.IN_THE_WAY)
    state.notice(f"Written to {path}: {formats.remark(known, [transcript])}.")


def _format_and_file(argument: str) -> tuple[formats.Format, str]:
    """Return what `/export` was asked for; the file's name may be empty."""
    first, _, rest = argument.partition(" ")
    if known := formats.NAMES.get(first.lower()):
        return known, rest.strip()
    if argument and "." not in argument and "/" not in argument:  # a slip must not become a file
        return formats.named(first), ""
    return formats.by_ending(argument) or formats.MARKDOWN, argument
