"""The small problem that tests of training train, and what makes two of its runs equal."""

import textwrap

import jax
import numpy as np

# The small problem of most tests, as text: killed runs execute it in a process of their own.
PROBLEM = textwrap.dedent("""
    import jax, jax.numpy as jnp, numpy as np
    from qjaxsim.training import TrainConfig, fit

    rng = np.random.default_rng(7)
    x = rng.normal(size=(64, 5)).astype(np.float32)
    y = rng.integers(0, 3, 64)
    x_test, y_test = x + 0.1, y
    params = {"w": rng.normal(size=(5, 3)).astype(np.float32), "b": np.zeros(3, np.float32)}

    def logits(params, x):
        return jnp.sin(x @ params["w"]) + jnp.broadcast_to(params["b"], (len(x), 3))

    def loss(params, x, y):
        log_p = jax.nn.log_softmax(logits(params, x))
        return -jnp.mean(jnp.take_along_axis(log_p, y[:, None], axis=1))

    def metrics(params, x, y):
        right = jnp.argmax(logits(params, x), axis=1) == y
        return {"loss": loss(params, x, y), "accuracy": jnp.mean(right.astype(jnp.float32))}

    config = TrainConfig(
        epochs=12, batch_size=8, learning_rate=0.05, schedule="cosine_cycle", weight_decay=1e-2, seed=3
    )

    def run(**options):
        return fit(loss, params, x, y, config, metrics=metrics, test=(x_test, y_test), **options)
""")
problem: dict = {}
exec(PROBLEM, problem)
logits, loss, metrics, x, y, params, config, run = (
    problem[name] for name in ("logits", "loss", "metrics", "x", "y", "params", "config", "run")
)


def without_seconds(history):
    return [{name: value for name, value in row.items() if name != "seconds"} for row in history]


def assert_equal_runs(one, other):
    """Equal bit for bit in everything but the time taken."""
    assert without_seconds(one.history) == without_seconds(other.history)
    np.testing.assert_array_equal(one.trajectory, other.trajectory)
    assert one.best_epoch == other.best_epoch
    for mine, theirs in ((one.params_final, other.params_final), (one.params_best, other.params_best)):
        jax.tree.map(np.testing.assert_array_equal, mine, theirs)
