"""Languages: circuits into token ids and back, each with its grammar as tensors; `_base.languages` lists them."""
