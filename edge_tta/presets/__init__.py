"""The presets that come with the package, as TOML."""
