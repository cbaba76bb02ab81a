"""Lists, searches and downloads files of the Hugging Face hub, and deletes models from its cache."""

import os

# huggingface_hub reads it when it is imported. It would send facts about the machine with each request.
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
