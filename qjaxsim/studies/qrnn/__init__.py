"""The study `qrnn`: the recurrent quantum network on its published tasks, with controls (arXiv:2006.14619)."""
