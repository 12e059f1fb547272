"""The acceptance of the cold tier: a module for each criterion, whose docstring says what is measured."""
