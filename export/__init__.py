"""Writes what was learned on the device in forms that other programs take."""
