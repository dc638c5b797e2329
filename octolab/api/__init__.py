"""What all parts of the REST API have in common."""
