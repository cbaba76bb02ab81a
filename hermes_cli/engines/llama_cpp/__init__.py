"""GGUF models on llama.cpp, through xllamacpp."""
