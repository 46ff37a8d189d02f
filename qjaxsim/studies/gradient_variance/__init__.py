"""The study `gradient-variance`: gradient variance and accuracy of a hybrid classifier (Moto and Yoshida)."""
