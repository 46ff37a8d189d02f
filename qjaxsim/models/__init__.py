"""Models of published systems, as pure functions of a params pytree."""
