"""Sampling: sequences into batches on an accelerator. Knows tokens and grammars, not circuits."""
