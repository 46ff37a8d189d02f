"""The study `overparametrisation`: rank of the quantum Fisher information against trainability."""
