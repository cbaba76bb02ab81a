"""The rows of the table: each says what is measured, the peer, the gate and the goal."""
