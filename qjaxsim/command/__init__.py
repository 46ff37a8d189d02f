"""The `qjaxsim` command."""
