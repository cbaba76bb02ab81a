"""The engine for GGUF models: llama.cpp, through xllamacpp."""
