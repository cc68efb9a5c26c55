"""An error that a call may end with and that the stages do not know."""


class Unimplemented(Exception):
    """The client wants something that this server does not offer."""
