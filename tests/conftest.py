"""Strict numerics for every test: double precision, no silent promotion of dtype or rank, a seeded key."""

import gc
import os
import sys
import types

# Files run beside each other and fill the cores. Threads of NumPy's linear algebra would wait there for one another, up
# to ten times as long as the work takes one thread. Read when NumPy is imported; workers and commands inherit it.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import hypothesis  # noqa: E402
import jax  # noqa: E402
import pytest  # noqa: E402

# Small programs run a few times each: compiling them takes the time. It takes half of it without optimising them
# (JAX_DISABLE_MOST_OPTIMIZATIONS=0 does that, for long reproductions), and half of that with XLA's older generator of
# fused loops and without splitting each program for several threads. Read when the first program is compiled; commands
# started by tests inherit it. Later releases have no such generator, and XLA ends the process over a flag that it does
# not know.
if "JAX_DISABLE_MOST_OPTIMIZATIONS" not in os.environ:
    os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
    jax.config.update("jax_disable_most_optimizations", True)
# Where in our code an operation comes from is written into every program otherwise: a twentieth of the time.
os.environ.setdefault("JAX_TRACEBACK_IN_LOCATIONS_LIMIT", "0")
jax.config.update("jax_traceback_in_locations_limit", int(os.environ["JAX_TRACEBACK_IN_LOCATIONS_LIMIT"]))
if jax.__version_info__ < (0, 11):
    flags = "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flags}".strip()
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

# What is imported stays. The collector of garbage would look through it over and over while programs are traced, and
# comes less often than it does by default: it took a twelfth of the time of the tests.
gc.freeze()
gc.set_threshold(20_000, 20, 20)

# Every run of the suite draws the same examples, so that a failure is one for everybody. The long mode draws others
# each time: `pytest tests/fuzz -m "slow or not slow" --hypothesis-profile=long`. Compilation makes single examples take
# long, hence no deadline.
hypothesis.settings.register_profile(
    "fixed", derandomize=True, max_examples=5, deadline=None, suppress_health_check=list(hypothesis.HealthCheck)
)
hypothesis.settings.register_profile(
    "long", max_examples=300, deadline=None, print_blob=True, suppress_health_check=list(hypothesis.HealthCheck)
)
hypothesis.settings.load_profile("fixed")


def _call(function, **arguments):
    return function(**arguments)


# Python keeps the frames of calls in pieces of 16 KiB. A call over the end of one asks the system for another, and it
# gives that back at its end: a tenth of the time of tests that trace much, as calls under pytest and JAX lie deep. The
# frame of this function takes a mebibyte, and leaves as much of its piece to those above it.
_call_with_room = types.FunctionType(_call.__code__.replace(co_stacksize=2**17 + 1), globals())


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config):
    """What pytest does, in this process or in a worker, with room for the frames of its calls."""
    others = config.pluginmanager.subset_hook_caller("pytest_cmdline_main", [sys.modules[__name__]])
    return _call_with_room(others, config=config)


@pytest.fixture(scope="session")
def key() -> jax.Array:
    """The same random key in every test."""
    return jax.random.key(20251)


@pytest.fixture
def compiled(caplog):
    """A function that counts the programs that XLA compiles while another one runs."""

    def count(run):
        caplog.clear()
        with jax.log_compiles():
            jax.block_until_ready(run())
        return sum("Finished XLA compilation" in record.getMessage() for record in caplog.records)

    return count


@pytest.fixture(autouse=True, scope="module")
def compiled_programs_are_dropped():
    """Programs of a file are let go at its end: every one holds memory mappings, of which a process has 65,530."""
    yield
    jax.clear_caches()
