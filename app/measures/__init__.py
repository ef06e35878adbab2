"""Numbers that say what circuits are worth: novelty now; each with its unit and a case worked by hand in the tests."""
