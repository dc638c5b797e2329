"""What others do to jobs and the lab: called by the API, the pages and the commands alike."""
