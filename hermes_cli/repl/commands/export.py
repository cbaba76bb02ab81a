"""`/export`: write the open conversation to a file in one of the supported formats."""

from collections.abc import Mapping

from hermes_cli.errors import UsageError
from hermes_cli.formats import files
from hermes_cli.formats import registry as formats
from hermes_cli.formats.transcript import Transcript
from hermes_cli.private_files import write_private
from hermes_cli.repl.commands.conversations import this_conversation
from hermes_cli.repl.state import State


def choices(_state: State) -> Mapping[str, str]:
    """Return the export formats, for completion."""
    return {known.name: known.help for known in formats.FORMATS}


def export(state: State, argument: str) -> None:
    """Write this conversation to a file; by default, to one named after its title in this folder (`/export`).

    An existing file is never overwritten.
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
    """Return the format and the file name in the argument of `/export`; the file name may be empty."""
    first, _, rest = argument.partition(" ")
    if known := formats.NAMES.get(first.lower()):
        return known, rest.strip()
    if argument and "." not in argument and "/" not in argument:  # a misspelled format must not become a file
        return formats.named(first), ""
    return formats.by_ending(argument) or formats.MARKDOWN, argument
