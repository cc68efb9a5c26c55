"""What a server is as a process: addresses, logs, file descriptors, cores and memory."""
