"""What a call may end with that the stages know nothing of."""


class Unimplemented(Exception):
    """The client wants something that this server does not offer."""
