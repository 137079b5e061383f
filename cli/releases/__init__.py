"""The releases that may be installed, as the person at the terminal sees and pins them."""
