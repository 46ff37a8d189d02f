"""What every room may use: files, memory, progress bars, checks of arguments, interrupts."""
