"""An approximate, vectorised circuit solver: thousands of sizings at once, transistors from tables, no ngspice."""
