"""From token vectors to what was asked for: one vector a text, scores, or all of them."""
