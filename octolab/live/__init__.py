"""What pushes: websockets, and the tailer of the event log that feeds them."""
