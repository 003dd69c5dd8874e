"""The command line `edge-tta`."""
