"""The worker process beside the hardware: claims orders, runs actions, guards devices, writes what happened."""
