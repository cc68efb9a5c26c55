"""From texts to token ids: the tokenizer, its rules, and whose texts are next."""
