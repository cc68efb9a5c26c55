"""Who may call, and over what: API keys and TLS, both made anew when their files change."""
