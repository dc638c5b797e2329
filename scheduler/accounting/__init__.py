"""What was used, by whom: module time, samples and consumables by user, project and month."""
