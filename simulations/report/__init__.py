"""What a simulation showed: counted while it runs, then told as text and as a page."""
