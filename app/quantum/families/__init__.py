"""Builders of quantum programs, one group of related families a module. Nothing heavy is imported before a build."""
