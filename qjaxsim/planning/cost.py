"""What steps cost: the model by which plans are chosen, in floating-point operations and their equivalents.

Measured on CPUs with JAX 0.10: real matrix products reach their full rate from 16 x 16 on; a pass over memory (read and
write) costs as much as 80 operations an amplitude as long as the state stays in cache and three times that outside; a
transpose costs about three passes; every operation of a program costs some microseconds, whatever its size. In units of
operations these hold in single and in double precision alike, since both rates double.
"""

PASS = 80.0
TRANSPOSE = 220.0
CALL = 1e6
# States of more amplitudes than this leave the last cache of a CPU (16 bytes an amplitude).
CACHED_AMPLITUDES = 2**21


def traffic(amplitudes: float) -> float:
    """How much slower memory is for a state of this size."""
    return 3.0 if amplitudes > CACHED_AMPLITUDES else 1.0


def dense(k: int, amplitudes: float, layers: int = 1) -> float:
    """A dense matrix on k qubits, made of Kronecker layers and applied after a transpose."""
    return product(k, amplitudes) + traffic(amplitudes) * TRANSPOSE * amplitudes + layers * build(k)


def product(k: int, amplitudes: float) -> float:
    """One product with a 2**k x 2**k matrix."""
    return CALL + (8 * 2**k + traffic(amplitudes) * PASS) * amplitudes


def dense_of_data(k: int, amplitudes: float, columns: int) -> float:
    """A dense matrix on k qubits of each column's own, for which no matrix product serves."""
    made = 2 * PASS * 4**k * columns
    return 2 * CALL + (16 * 2**k + traffic(amplitudes) * (PASS + TRANSPOSE)) * amplitudes + made


def data_block(n_qubits: int) -> int:
    """Most qubits in such a matrix: it holds at most as many numbers as a state."""
    return min(4, (n_qubits + 1) // 2)


def singles(count: int, amplitudes: float, columns: int) -> float:
    """Each column's own matrices on single qubits in a loop: passes without a transpose."""
    return CALL + count * (CALL + traffic(amplitudes) * PASS * amplitudes + 8 * PASS * columns)


def build(k: int) -> float:
    """Making one Kronecker layer of a matrix on k qubits and multiplying it to the others."""
    return CALL + 8 * 8**k


def diagonal(tables: int, amplitudes: float) -> float:
    """Phases of several tables, applied in one pass."""
    return CALL + (traffic(amplitudes) * PASS + 12 * tables) * amplitudes


def rotations(count: int, amplitudes: float) -> float:
    """Rotations about Pauli strings in a loop, each a gather and a pass."""
    return CALL + count * (CALL / 10 + traffic(amplitudes) * 3 * PASS * amplitudes)


def monomial(amplitudes: float) -> float:
    """A gather of whole rows."""
    return CALL + traffic(amplitudes) * 2 * PASS * amplitudes


def transpose(amplitudes: float) -> float:
    """A new order of the qubits."""
    return CALL + traffic(amplitudes) * TRANSPOSE * amplitudes


def turn(k: int, amplitudes: float) -> float:
    """One turn of a loop over blocks of k qubits: a gather of single amplitudes and a product."""
    return CALL / 100 + (8 * 2**k + traffic(amplitudes) * 3 * PASS) * amplitudes


def slot(k: int) -> float:
    """Making one factor of a block of k qubits, and its product with the next, among very many."""
    return 450.0 * 8**k
