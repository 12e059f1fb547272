"""The long suites, each under its own make target. They take SEED= and MINUTES=, go on where they were and add up.

Each prints one line on what it covered, and fails when that was nothing. Results lie in .results/ (RESULTS=DIR).
"""
