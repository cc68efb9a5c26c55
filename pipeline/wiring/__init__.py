"""What :mod:`pipeline.topology` is made of: links between stages, and who watches over them."""
