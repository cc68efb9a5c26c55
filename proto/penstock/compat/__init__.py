"""Services that other servers' clients already speak, under their own names on the wire."""
