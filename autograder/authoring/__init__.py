"""From one source file per topic to everything that is made from it."""
