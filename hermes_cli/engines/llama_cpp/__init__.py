"""The engine for GGUF models. It uses llama.cpp through xllamacpp."""
