"""nbgrader keeps the books; these plug-ins make it take points from the judge's verdicts only."""
