"""The pass `prune`: as few heaters as an error budget allows, without training."""
