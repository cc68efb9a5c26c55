"""The arrays of requests and answers: checked on their way in, laid out on their way out."""
