"""First-order change of a layer's statistics with the parameters in front of it (Eq. 6-8)."""
