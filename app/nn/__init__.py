"""The networks. Axis words used in shape annotations: batch (sequences), time (positions), width (embedding), head,
head_width, vocab, layer, slot (row of the key-value slab).
"""
