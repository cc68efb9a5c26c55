"""Small requests that ask for the same travel as one."""
