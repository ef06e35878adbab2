"""Analog circuits as frozen values: kinds, netlists, SPICE text, repair, rules, and when two are the same."""
