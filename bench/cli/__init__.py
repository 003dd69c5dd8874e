"""Subcommands `edge-tta bench ...` and `edge-tta corrupt`."""
