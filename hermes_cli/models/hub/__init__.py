"""Lists and downloads files of the Hugging Face hub, and deletes models from its cache."""
