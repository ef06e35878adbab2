"""Learning from the simulator: a trained generator samples, ngspice judges, the network learns from the best."""
