"""The study `hessian`: exact Hessian spectra of distributed patch circuits trained on images (arXiv:2504.19239)."""
