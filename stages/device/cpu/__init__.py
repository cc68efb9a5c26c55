"""What is done only on a CPU: layers, memory and threads that suit it."""
