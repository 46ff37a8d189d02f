"""The precision of matrix products."""

import jax

# Recent GPUs would multiply float32 in TF32 otherwise, with 10 bits of mantissa, and TPUs in bfloat16.
HIGHEST = jax.lax.Precision.HIGHEST
