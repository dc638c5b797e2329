"""Jobs, the task generator, the scheduler process and the job API."""
