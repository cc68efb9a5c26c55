"""What a server is as a process: signals, exit code, logs, descriptors, cores and memory."""
