"""What is known of the server's load, and what is judged by it. Pure."""
