"""Prompts and characters of other programs in YAML, Markdown and Modelfiles."""

from tests.personas.corpus.recipe import File, to_json

MODELFILE = b'FROM llama3.2\nPARAMETER temperature 0.5\nPARAMETER mirostat 2\nSYSTEM """You are Ada."""\n'
MESSAGES = b"FROM x\nMESSAGE user Hi\nMESSAGE assistant Hello.\nMESSAGE user Bye\n"
PATTERN = b"# IDENTITY and PURPOSE\n\nYou are an expert.\n\n# STEPS\n\n- Think.\n\n# INPUT:\n\nINPUT:\n"
LLM = b"system: You are $role.\nprompt: 'Summarize: $input'\nmodel: gpt-4o\ndefaults:\n  role: Ada\n"
ROLE = b"---\nmodel: openai:gpt-4o\ntemperature: 0\n---\nYou are Ada.\n"
TEMPLATE_REMARK = "`hermes ask` sends it as the user's message; in a chat, it is a part of the system prompt"
LMSTUDIO = {
    "identifier": "@local:ada",
    "name": "Ada",
    "operation": {"fields": [{"key": "llm.prediction.systemPrompt", "value": "You are Ada."}]},
}
HAS = ("You are Ada.",)

FILES = (
    File(
        "ada.modelfile",
        MODELFILE,
        "modelfile",
        "ada",
        ("the option 'mirostat' is left out: hermes has no such option",),
        greetings=0,
        has=HAS,
    ),
    File(
        "template.modelfile",
        MODELFILE.replace(b"PARAMETER mirostat 2", b'TEMPLATE "{{ .Prompt }}"'),
        "modelfile",
        "template",
        ("its TEMPLATE is left out: each model has its own prompt format",),
        greetings=0,
        has=HAS,
    ),
    File(
        "messages.modelfile",
        MESSAGES,
        "modelfile",
        "messages",
        ("a user MESSAGE without an answer, or an answer without a question, is left out",),
        greetings=0,
        has=("Hello.",),
    ),
    File(
        "crlf.modelfile",
        MODELFILE.replace(b"PARAMETER mirostat 2\n", b"").replace(b"\n", b"\r\n"),
        "modelfile",
        "crlf",
        greetings=0,
        has=HAS,
    ),
    File(
        "system.md",
        PATTERN,
        "text",
        "system",
        ("the heading INPUT at its end is left out: your message is sent as a turn of its own",),
        greetings=0,
        has=("You are an expert.",),
    ),
    File("prompt.txt", b"You are Ada.", "text", "prompt", greetings=0, has=HAS),
    File(
        "no-front-matter.md",
        b"# Ada\n\nYou are Ada. {{char}}\n",
        "text",
        "no-front-matter",
        greetings=0,
        has=HAS,
    ),
    File(
        "llm.yaml",
        LLM,
        "llm",
        "llm",
        ("'model' is left out", f"it has a prompt: {TEMPLATE_REMARK}"),
        greetings=0,
        has=("You are {{role}}.", "Summarize: {{input}}"),
    ),
    File("llm-system.yaml", b"system: You are Ada.\n", "llm", "llm-system", greetings=0, has=HAS),
    File(
        "role.md",
        ROLE,
        "aichat",
        "role",
        ("'model' is ignored; choose a model with -m",),
        greetings=0,
        has=HAS,
    ),
    File(
        "role-input.md",
        b"Translate: __INPUT__\n",
        "aichat",
        "role-input",
        (f"the prompt contains __INPUT__: {TEMPLATE_REMARK}",),
        greetings=0,
        has=("Translate: {{input}}",),
    ),
    File(
        "role-examples.md",
        b"You are Ada.\n### INPUT:\na\n### OUTPUT:\nb\n",
        "aichat",
        "role-examples",
        greetings=0,
        has=HAS,
    ),
    File("webui.yaml", b"name: Ada\ngreeting: Yes?\ncontext: You are Ada.\n", "webui", "Ada", has=HAS),
    File(
        "webui-more.yaml",
        b"name: Ada\ngreeting: Yes?\ncontext: You are Ada.\nturn_template: x\n",
        "webui",
        "Ada",
        ("'turn_template' is left out: hermes does not use it",),
        has=HAS,
    ),
    File("lmstudio.json", to_json(LMSTUDIO), "lmstudio", "Ada", greetings=0, has=HAS),
)
