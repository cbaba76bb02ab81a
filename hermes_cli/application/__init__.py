"""What the verbs share: choose and open a model, open a session, import and export, maintenance."""
