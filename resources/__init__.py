"""WITH WHAT: profiles (the only reader of the environment), storage, encoders, price list."""
