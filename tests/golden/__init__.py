"""Volumes as released versions made them: each opens in every later one. They are never edited or made again."""
