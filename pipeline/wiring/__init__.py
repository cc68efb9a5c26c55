"""What :mod:`pipeline.topology` is made of: links between stages, and what watches over them."""
