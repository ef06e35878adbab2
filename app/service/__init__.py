"""The HTTP doors: the API, its documentation and the dashboard. FastAPI is imported here and nowhere else."""
