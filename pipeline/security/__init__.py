"""Who may call, and over what: API keys and TLS, both reloaded when their files change."""
