"""Device models to simulate with: one module a technology, cards in `data/technologies/<name>/`."""
