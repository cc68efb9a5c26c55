"""The HTTP edge described in OpenAPI 3.1, and a page on which people read it."""
