"""Reading aichat's roles: front matter, placeholders and examples."""

from pathlib import Path

import pytest

from hermes_cli.errors import PersonaError
from hermes_cli.personas.formats import aichat
from hermes_cli.personas.formats.import_result import Remarks
from hermes_cli.personas.persona import Example

SOURCE = Path("code.md")
# After the examples in aichat's "Role Guide".
CODE = """---
model: openai:gpt-4o
temperature: 0
top_p: 0.5
use_tools: web_search
---
Provide only code.

### INPUT:
async sleep in js
### OUTPUT:
```javascript
sleep
```
"""


def test_front_matter_sets_options_and_input_and_output_are_an_example() -> None:
    """The front matter sets the options, and the INPUT and OUTPUT parts are an example."""
    remarks = Remarks()
    persona = aichat.read(CODE, SOURCE, remarks)
    assert (persona.name, persona.system) == ("code", "Provide only code.")
    assert persona.examples == (Example("async sleep in js", "```javascript\nsleep\n```"),)
    assert dict(persona.options) == {"temperature": 0.0, "top_p": 0.5}
    assert remarks.summary() == ("'model' is ignored; choose a model with -m", "'use_tools' is ignored")


def test_a_role_with_the_input_placeholder_is_a_prompt() -> None:
    """There is no system prompt, and a remark on __INPUT__."""
    remarks = Remarks()
    persona = aichat.read("---\n---\nconvert __INPUT__ to emoji", SOURCE, remarks)
    assert (persona.system, persona.prompt) == ("", "convert {{input}} to emoji")
    assert "__INPUT__" in remarks.summary()[0]


@pytest.mark.parametrize("text", ["Be brief.", "", "----\nx\n----\n", "---\nno end", " ---\na: b\n---\n"])
def test_a_text_without_front_matter_is_not_a_role(text: str) -> None:
    """A text without front matter is not a role."""
    assert not aichat.is_aichat(text)


def test_front_matter_that_is_not_a_table_is_refused() -> None:
    """Front matter that is not a list of settings is refused."""
    with pytest.raises(PersonaError, match="is not a list of settings"):
        aichat.read("---\n- a\n---\nx", SOURCE, Remarks())
