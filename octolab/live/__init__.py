"""Live events over websockets: one tailer per web process reads the event log and fans out by right."""
