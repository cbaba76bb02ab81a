"""The rewind of llama.cpp's answers behind banned phrases, over a completion from a table."""

from collections.abc import Collection, Generator

from hermes_cli.engines.llama_cpp.rewind import Event, Rewinder

Start = tuple[list[int], set[int]]


class Model:
    """A model whose tokens are words. `choices` has the words by position, the likeliest first."""

    def __init__(self, *choices: str) -> None:
        self.choices = [words.split("|") for words in choices]
        self.vocabulary = sorted({word for words in self.choices for word in words})
        self.starts: list[Start] = []
        self.closed = 0

    def complete(self, ids: list[int], banned: Collection[int]) -> Generator[Event]:
        """Yield the likeliest words that are not banned. Record the start of each completion."""
        self.starts.append((ids, set(banned)))
        try:
            yield {"progress": [0, 1, 1]}
            for count, words in enumerate(self.choices[len(ids) :], 1):
                word = next(word for word in words if self.id_of(word) not in banned)
                yield {"text": word, "ids": [self.id_of(word)], "generated": count}
            yield {"finish": "stop", "generated": len(self.choices) - len(ids) + 1}
        finally:
            self.closed += 1

    def id_of(self, word: str) -> int:
        """Return the id of a word."""
        return self.vocabulary.index(word)


def answer(model: Model, *phrases: str, never: Collection[int] = ()) -> tuple[str, list[Event]]:
    """Return the text of an answer without the phrases, and the events."""
    events = list(Rewinder(phrases, never, model.complete).events())
    return "".join(event.get("text", "") for event in events), events


def test_the_first_token_of_a_banned_phrase_is_replaced() -> None:
    """The first id is banned for one token; the completion behind it bans nothing."""
    model = Model("Down", " the| a", " spine", " the| a", " end")
    text, events = answer(model, "THE SPINE")
    assert text == "Down a spine the end"
    down, the, a = map(model.id_of, ("Down", " the", " a"))
    assert model.starts == [([], set()), ([down], {the}), ([down, a], set())]
    assert model.closed == 3
    assert [event for event in events if "progress" in event] == [{"progress": [0, 1, 1]}]
    assert events[-1] == {"finish": "stop", "generated": 6}


def test_each_alternative_that_begins_a_banned_phrase_is_banned_there() -> None:
    """The bans of a position add up, and those of later positions are dropped."""
    model = Model("x|y|z", "b", "c|d")
    text, _ = answer(model, "xb", "ybc", "ybd")
    assert text == "zbc"
    x, y = map(model.id_of, ("x", "y"))
    assert ([], {x, y}) in model.starts


def test_tokens_that_contain_a_phrase_are_never_generated() -> None:
    """They need no second completion."""
    model = Model("one| two", " bad| good", "!")
    text, _ = answer(model, "bad", never=[model.id_of(" bad")])
    assert text == "one good!"
    assert len(model.starts) == 1


def test_text_that_might_begin_a_phrase_is_shown_at_the_end() -> None:
    """Also if the answer was cancelled, so that no event has a reason of the end."""
    model = Model("a ", "shiver")
    assert answer(model, "shivers")[0] == "a shiver"
    stopped = Rewinder(("shivers",), (), lambda ids, banned: iter_of([*model.complete(ids, banned)][:-1]))
    assert "".join(event.get("text", "") for event in stopped.events()) == "a shiver"


def iter_of(events: list[Event]) -> Generator[Event]:
    """Return a generator of the events."""
    yield from events
