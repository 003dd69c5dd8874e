"""A page to watch a run on, for devices without a screen."""
