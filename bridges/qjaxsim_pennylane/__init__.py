"""PennyLane's tapes and QNodes as circuits.

Wire labels become qubit numbers in the order of the wires; both sides take the first one for the most significant bit.
PennyLane comes with the extra "pennylane" and is imported at the first conversion.
"""

from qjaxsim_pennylane.importing import ImportedTape, from_pennylane

__all__ = ["ImportedTape", "from_pennylane"]
