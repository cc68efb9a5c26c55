"""What must hold of every simulation, looked at from outside."""
