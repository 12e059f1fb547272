"""The acceptance of the cold tier (issue: packs on OSS), a module for each criterion: what it says is measured there."""
