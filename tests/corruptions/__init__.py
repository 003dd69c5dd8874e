"""Claims about the corruptions of bench, from their published definitions."""
