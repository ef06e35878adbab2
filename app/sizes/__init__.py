"""The sizes of a topology as variables: which devices share them, their ranges, where to start, how to draw them."""
