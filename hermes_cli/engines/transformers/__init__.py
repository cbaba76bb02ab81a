"""Hugging Face weights on transformers, torch and bitsandbytes, with a decode loop of our own."""
