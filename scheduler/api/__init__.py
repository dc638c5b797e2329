"""Jobs, samples, devices, plan, events and stocks over REST."""
