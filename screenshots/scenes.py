"""The scenes of the screenshots: the keys that are typed, and the model's answers."""

from dataclasses import dataclass

CONTEXT_SIZE = 4096
SIZES = ((80, 24), (120, 40))
"""Columns and rows."""


Step = tuple[str] | tuple[str, str]
"""Keys to press, and words that are on the screen afterwards, regardless of line breaks."""


@dataclass(frozen=True, slots=True)
class Scene:
    """The steps of one picture. The model gives its `answers` in order; `title` describes the picture."""

    name: str
    title: str
    steps: tuple[Step, ...]
    answers: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()


CODE = '''\
## Reading it line by line

A file *is* an iterator: it gives **one line at a time**, so `log.txt` may be larger than your memory.

```python
from pathlib import Path

def longest(path: Path, limit: int = 80) -> str:
    """Return the longest line that is within the limit."""
    with path.open(encoding="utf-8") as file:
        return max((line for line in file if len(line) <= limit), key=len)

print(longest(Path("log.txt")))  # one pass, one line in memory
```
'''

TABLE = """\
These keep well, the last one least:

| Bread | Flour | Keeps | Loaf |
|:------|:------|------:|:----:|
| Rye | whole rye, sourdough | 9 days | 1.2 kg |
| Levain | wheat, a little *rye* | 5 days | 900 g |
| Knäckebröd | rye, `no yeast` | a year | 20 g |
| 饅頭 | wheat, steamed | 2 days | 60 g |

For all of them:

1. Let them **cool** before you pack them.
2. Linen or paper, not plastic:
   - a crust stays a crust
   - and mould comes late
"""

ROLEPLAY = """\
*He stops with the pencil in the air, and for a moment the scowl is gone.* "Al? He's the kind one. Seven \
feet of armour, and he picks up every stray cat between here and Resembool." *He looks at his right \
hand.* "We did something stupid once. I'm going to put it right."

*The pencil comes down again.* "So. Do you know anything about *red* stones, or are you just here to talk?"
"""

STOVE = "Low heat, a heavy pan, and patience: half an hour at least, with a pinch of salt at the start."

SCENES = (
    Scene(
        "code",
        "An answer with a heading, emphasis and a block of Python",
        (("How do I find the longest line of a big file?\r", "one pass, one line in memory"),),
        (CODE,),
    ),
    Scene(
        "table",
        "An answer with a table and a list in a list",
        (("Which bread keeps on a hike?\r", "mould comes late"),),
        (TABLE,),
    ),
    Scene(
        "roleplay",
        "Edward Elric greets and answers: what is done and what is said look different",
        (("Tell me about your brother.\r", "just here to talk"),),
        (ROLEPLAY,),
        ("--persona", "edward-elric"),
    ),
    Scene(
        "error",
        "What goes wrong says what to do next",
        (
            ("/model nonsense\r",),
            ("/set top_p 7\r",),
            ("/persona edwart\r",),
            ("/file notes.txt\r",),
            ("/modle\r",),
        ),
    ),
    Scene(
        "toolbar",
        "A half-typed command with what it could become, and the toolbar",
        (
            ("How do I caramelise onions?\r", "pinch of salt at the start"),
            ("/se", "sessions"),
        ),
        (STOVE,),
    ),
)
