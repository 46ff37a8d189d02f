"""Pages of the site, and in `make` what is made of them."""
