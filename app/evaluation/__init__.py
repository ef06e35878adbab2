"""What a model's circuits are worth: samples through the checks that real and randomly wired circuits go through."""
