"""Formulas only: transfer matrices, shifter drive and power, loss. No technology, no IR."""
