"""Answers from model servers over HTTP: LM Studio, Ollama, llama-server, vLLM, OpenAI-compatible ones."""
