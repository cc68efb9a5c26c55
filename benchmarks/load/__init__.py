"""What servers are asked: texts, their lengths, and the client that sends them."""
