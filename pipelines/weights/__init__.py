"""Model weights: which there are (manifest), fetching them (fetch), keeping them (store).

Weights are data, not code: archives are read and never imported, and what counts is the sha256 of
the final file, wherever it came from.
"""
