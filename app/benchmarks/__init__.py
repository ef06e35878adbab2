"""How fast this machine is: one module a benchmark. They record; they judge nothing."""
