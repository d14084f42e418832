"""Model weights: what they are (manifest), where they come from (sources), where they lie (store).

Weights are a manifest, not code: archives are opened as data and never imported, and what
counts is the sha256 of the final file, wherever it came from.
"""
