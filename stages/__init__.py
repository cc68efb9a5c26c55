"""What happens to a request: a file a stage, and a folder for what each of them needs.

In the order of the flow: admission, tokenizing, bucketing, batching, execution, notification.
"""
