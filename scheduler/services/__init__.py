"""What is done to jobs: verbs that REST, pages, commands and tests call alike."""
