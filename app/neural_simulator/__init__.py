"""Performance of sized circuits without simulating them: simulations as arrays, and how predictions are judged."""
