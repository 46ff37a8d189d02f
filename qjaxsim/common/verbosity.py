"""How much is said on standard error; apart, so that the command can be told before anything slow is imported."""

from dataclasses import dataclass


@dataclass
class Settings:
    """What every progress shows.

    Attributes:
        quiet: neither bars nor messages, but warnings.
        verbose: a line for every stage, where there is no terminal for bars.
    """

    quiet: bool = False
    verbose: bool = False


settings = Settings()
