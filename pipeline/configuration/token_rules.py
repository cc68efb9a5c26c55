"""How the model's tokens are cut and pooled."""

import numpy as np

from stages.device.checkpoint.recipe import Recipe
from stages.device.spec import Device
from stages.text.text_tokenizer import TextTokenizer
from stages.text.token_rules import TokenRules


def missing_tokens(tokenizer: TextTokenizer, device: Device) -> int:
    """How many of the tokenizer's tokens the model does not know; null takes any."""
    if device.device == "null":
        return 0
    return max(0, tokenizer.vocabulary - device.vocabulary)


def token_rules(recipe: Recipe, tokenizer: TextTokenizer, device: Device) -> TokenRules:
    """How the model's tokens are cut and pooled."""
    unpooled = None
    if len(device.excluded_ids):
        unpooled = np.zeros(max(device.vocabulary, tokenizer.vocabulary), np.bool_)
        unpooled[device.excluded_ids] = True
    return TokenRules(
        max_tokens=recipe.max_tokens,
        prefix=tokenizer.prefix,
        suffix=tokenizer.suffix,
        unpooled=unpooled,
        pairs=tokenizer.pairs,
        vocabulary=device.vocabulary if missing_tokens(tokenizer, device) else None,
        prompts=dict(recipe.prompts),
        default_prompt=recipe.default_prompt_name,
        pool_from={} if recipe.include_prompt else _prompt_lengths(recipe, tokenizer),
    )


def _prompt_lengths(recipe: Recipe, tokenizer: TextTokenizer) -> dict[str, int]:
    """How many tokens each prompt keeps out of the pooling, special ones before it included."""
    names = [name for name, text in recipe.prompts.items() if text]
    encoded = tokenizer.encode([recipe.prompts[name] for name in names])
    return {
        name: len(ids) - len(tokenizer.suffix) for name, ids in zip(names, encoded, strict=True)
    }
