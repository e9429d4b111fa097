"""The sandbox: the walls, and the program that runs student code inside them."""
