"""All that stands beside hardware: contract, host, drivers, simulated instruments, the shipped modules."""
