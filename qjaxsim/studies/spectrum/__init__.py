"""The study `spectrum`: curvature of a problem that the user brings, as a results folder with figures and a page."""
