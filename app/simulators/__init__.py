"""Netlists into waveforms: worker processes, the ngspice they load, decks, and operating points.

PySpice and libngspice live in worker processes only; importing anything else here loads neither.
"""
