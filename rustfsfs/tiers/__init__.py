"""PURE policies: from facts to a plan. What carries a plan out is in `volume`."""
