"""The Hugging Face hub: lists and downloads files, and removes models from its cache."""
