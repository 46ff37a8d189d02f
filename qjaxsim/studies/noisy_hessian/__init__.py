"""The study `noisy-hessian`: what depolarizing noise and a finite number of shots leave of curvature."""
