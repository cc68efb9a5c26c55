"""What happens to a request, one file a stage, named in the order of the flow."""
