"""What each kind of model server supports, and how its requests and answers are written."""
