"""A plan carried out on a restored copy of its target, and measured; what was predicted beside it; the receipt."""
