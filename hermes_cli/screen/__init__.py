"""What reaches the eye: it knows terminals and refuses to know models, stores and prompts."""
